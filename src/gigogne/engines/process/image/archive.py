"""The archives that ADD unpacks, as entries of a tree: nothing is unpacked before the tree is written."""

from __future__ import annotations

import lzma
import posixpath
import stat
import tarfile
import zlib
from pathlib import Path
from typing import BinaryIO

from gigogne.engines.process.image.members import open_plain
from gigogne.engines.process.image.tree import Entry
from gigogne.errors import ComposeError

__all__ = ["archive_entries"]

_BROKEN = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError)
_ZSTANDARD = b"\x28\xb5\x2f\xfd"


def archive_entries(path: Path) -> dict[str, Entry] | None:
    """The entries of a tar archive, plain or packed with gzip, bzip2 or xz; None for any other file.

    As in Docker the content decides, not the name. Only the headers are read.

    Raises:
        ComposeError: The archive is broken, or would write outside the directory that it is unpacked into.
    """
    try:
        with open_plain(path) as stream:
            return _read(stream, path)
    except (OSError, *_BROKEN) as error:
        unreadable = isinstance(error, OSError) and error.strerror
        reason = f"cannot be read: {unreadable}" if unreadable else f"is a broken archive: {error}"
        raise ComposeError(f"{path} {reason}", "make it again, and let this user read it") from None


def _read(stream: BinaryIO, path: Path) -> dict[str, Entry] | None:
    head = stream.read(tarfile.BLOCKSIZE)
    if head.startswith(_ZSTANDARD) and ".tar" in path.suffixes:
        raise ComposeError(f"{path} is packed with zstd, which is not read here", "pack it with gzip or xz")
    if not _is_header(head):
        return None
    stream.seek(0)
    stamp = path.stat().st_mtime_ns
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        return dict(_entry(archive, member, path, stamp) for member in archive)


def _is_header(block: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def _entry(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path, stamp: int) -> tuple[str, Entry]:
    name = _inside(path, member.name)
    if member.isdir():
        return name, Entry(stat.S_IFDIR | stat.S_IMODE(member.mode))
    if member.issym():
        if member.linkname.startswith("/"):
            raise _hostile(path, f"{member.name} is a link to {member.linkname}")
        _inside(path, posixpath.join(posixpath.dirname(name), member.linkname))
        return name, Entry(stat.S_IFLNK | 0o777, link=member.linkname)
    mode = stat.S_IFREG | stat.S_IMODE(member.mode)
    if member.islnk():  # the same file under a second name
        try:
            member = archive.getmember(member.linkname)
        except KeyError:
            raise _hostile(path, f"{member.name} is a link to {member.linkname}") from None
    if not member.isreg() or member.sparse:
        raise _hostile(path, f"{member.name} is a device, a pipe or a sparse file")
    return name, Entry(mode, path, size=member.size, stamp=stamp, offset=member.offset_data)


def _inside(path: Path, name: str) -> str:
    """`name` as a path relative to where the archive is unpacked; empty for that place itself."""
    cleaned = posixpath.normpath(name)
    if cleaned == ".." or cleaned.startswith(("/", "../")):
        raise _hostile(path, f"{name} leads out of it")
    return "" if cleaned == "." else cleaned


def _hostile(path: Path, what: str) -> ComposeError:
    return ComposeError(f"the archive {path} cannot be unpacked safely: {what}", "make it again without this entry")
