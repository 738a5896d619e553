"""The files inside an archive, read where they lie: at an offset of what it is when it is decompressed."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

__all__ = ["MemberReader", "open_plain"]

_CHUNK = 1 << 20


def open_plain(path: Path) -> BinaryIO:
    """A file, decompressed where it is packed with gzip, bzip2 or xz."""
    with path.open("rb") as file:
        magic = file.read(6)
    if magic.startswith(b"\x1f\x8b"):
        return cast("BinaryIO", gzip.open(path))
    if magic.startswith(b"BZh"):
        return cast("BinaryIO", bz2.open(path))
    return cast("BinaryIO", lzma.open(path)) if magic == b"\xfd7zXZ\x00" else path.open("rb")


class MemberReader:
    """Reads members of archives; a stream stays open, so that one pass serves members in order."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._stream: BinaryIO | None = None

    def chunks(self, archive: Path, offset: int, size: int) -> Iterator[bytes]:
        """What the member of `size` bytes at `offset` holds."""
        if self._stream is None or self._path != archive:
            self.close()
            self._path, self._stream = archive, open_plain(archive)
        self._stream.seek(offset)
        while size:
            chunk = self._stream.read(min(size, _CHUNK))
            if not chunk:
                raise OSError(f"{archive} ends too soon")
            yield chunk
            size -= len(chunk)

    def close(self) -> None:
        """Close the archive that is open."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
