"""An image as `docker save` writes it, read as it streams: no byte of it comes to this machine's disk."""

from __future__ import annotations

import io
import json
import posixpath
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from gigogne.errors import EngineError

__all__ = ["Entry", "Layer", "SavedImage", "read_saved"]

_BUFFER = 1 << 20
# What is smaller may be one of the archive's own documents: a manifest, the image's configuration.
_DOCUMENT = 8 << 20
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a layer does to one path, which has no slash at its beginning.

    Attributes:
        path: The path.
        size: How many bytes the layer has of it: none for a directory or a link.
        mode: Its permissions.
        changed: When its content last changed, in seconds.
        folder: Whether it is a directory.
        gone: Whether the layer takes it away; of a directory that `folder` says to stay, what was in it.
    """

    path: str
    size: int = 0
    mode: int = 0o644
    changed: float = 0.0
    folder: bool = False
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: what made it, in the builder's words, and its entries."""

    created_by: str
    entries: tuple[Entry, ...]

    @property
    def bytes(self) -> int:
        """What its files take."""
        return sum(entry.size for entry in self.entries)


@dataclass(frozen=True, slots=True)
class SavedImage:
    """An image's layers, from the bottom, and its history.

    `history` has one step for each instruction, with the number of the layer that it made; None where it made none.
    """

    layers: tuple[Layer, ...]
    history: tuple[tuple[str, int | None], ...]

    @property
    def bytes(self) -> int:
        """What all its layers take."""
        return sum(layer.bytes for layer in self.layers)


def read_saved(chunks: Iterable[bytes]) -> SavedImage:
    """The image in the output of `docker save`.

    Raises:
        EngineError: It is not such an archive, or it is packed in a way that this Python cannot read.
    """
    documents: dict[str, bytes] = {}
    found: dict[str, tuple[Entry, ...]] = {}
    links: dict[str, str] = {}
    try:
        with tarfile.open(fileobj=io.BufferedReader(_Chunks(chunks), _BUFFER), mode="r|", bufsize=_BUFFER) as saved:
            for member in saved:
                file = saved.extractfile(member) if member.isreg() else None
                if member.issym():
                    links[member.name] = posixpath.normpath(
                        posixpath.join(posixpath.dirname(member.name), member.linkname)
                    )
                elif file is not None:
                    _read_member(member, file, documents, found)
        return _assembled(documents, found, links)
    except (tarfile.TarError, KeyError, IndexError, ValueError) as error:
        hint = "gigogne images needs a Docker engine of version 25 or newer: docker version"
        raise EngineError(f"what docker save gives is not understood: {error}", hint) from error


def _read_member(
    member: tarfile.TarInfo, file: IO[bytes], documents: dict[str, bytes], found: dict[str, tuple[Entry, ...]]
) -> None:
    head = file.peek(512)[:512] if isinstance(file, io.BufferedReader) else b""
    if head[257:262] == b"ustar" or head.startswith(b"\x1f\x8b") or not head.strip(b"\0"):
        found[member.name] = tuple(_entries(file)) if head.strip(b"\0") else ()
    elif head.startswith(b"\x28\xb5\x2f\xfd"):
        raise ValueError(f"{member.name} is packed by zstd")
    elif member.size < _DOCUMENT:
        documents[member.name] = file.read()


def _entries(file: IO[bytes]) -> Iterator[Entry]:
    with tarfile.open(fileobj=file, mode="r|*", bufsize=_BUFFER) as layer:
        for member in layer:
            path = posixpath.normpath(member.name).lstrip("/")
            folder, name = posixpath.split(path)
            if name == _OPAQUE:
                yield Entry(folder, folder=True, gone=True)
            elif name.startswith(_WHITEOUT):
                yield Entry(posixpath.join(folder, name.removeprefix(_WHITEOUT)), gone=True)
            elif path != ".":
                size = member.size if member.isreg() else 0
                yield Entry(path, size, member.mode, float(member.mtime), member.isdir())


def _assembled(
    documents: Mapping[str, bytes], found: Mapping[str, tuple[Entry, ...]], links: Mapping[str, str]
) -> SavedImage:
    manifest = json.loads(documents["manifest.json"])[0]
    config: Mapping[str, Any] = json.loads(documents[manifest["Config"]])
    contents = [found[links.get(name, name)] for name in manifest["Layers"]]
    history: list[tuple[str, int | None]] = []
    made_by = [""] * len(contents)
    number = 0
    for step in config.get("history") or ():
        words = step.get("created_by") or ""
        if step.get("empty_layer"):
            history.append((words, None))
        else:
            made_by[number] = words
            history.append((words, number))
            number += 1
    return SavedImage(tuple(map(Layer, made_by, contents)), tuple(history))


class _Chunks(io.RawIOBase):
    """Chunks of bytes as a file that is read once."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = memoryview(chunk)
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
