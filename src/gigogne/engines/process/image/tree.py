"""The files of an image as a mapping from paths to where they come from: nothing is copied until `write`."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from gigogne.engines.process.image.members import MemberReader
from gigogne.errors import ComposeError, EngineError

__all__ = ["DIRECTORY", "Entry", "Tree"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A file (from `source`, or with `content`), a symbolic link to `link`, or a directory.

    `mode` has the type's bits too, as `os.stat` gives them; `stamp` is the time of the last change. With an `offset`
    the file is inside the archive `source`.
    """

    mode: int
    source: Path | None = None
    content: bytes | None = None
    link: str | None = None
    size: int = 0
    stamp: int = 0
    offset: int | None = None

    @classmethod
    def of(cls, path: str, status: os.stat_result) -> Entry:
        """The entry of a file that is there; `status` is its own, not that of what it links to."""
        if stat.S_ISLNK(status.st_mode):
            return cls(status.st_mode, link=os.readlink(path))  # noqa: PTH115 - str in, str out: a hot loop
        if stat.S_ISDIR(status.st_mode):
            return cls(status.st_mode)
        return cls(status.st_mode, Path(path), size=status.st_size, stamp=status.st_mtime_ns)

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode)

    def with_bits(self, clear: int, add: int) -> Entry:
        """The same with other permissions; a link has none."""
        return self if self.link is not None else replace(self, mode=self.mode & ~clear | add)

    def read(self) -> bytes:
        """What the file holds; nothing for what is not a file."""
        with contextlib.closing(MemberReader()) as members:
            try:
                return b"".join(self.chunks(members))
            except OSError as error:
                raise ComposeError(f"{self.source} cannot be read: {error.strerror}", "let this user read it") from None

    def chunks(self, members: MemberReader) -> Iterator[bytes]:
        """What the file holds, piece by piece."""
        if self.content is not None:
            yield self.content
        elif self.source is not None and self.offset is not None:
            yield from members.chunks(self.source, self.offset, self.size)
        elif self.source is not None:
            yield self.source.read_bytes()


DIRECTORY = Entry(stat.S_IFDIR | 0o755)


class Tree(dict[str, Entry]):
    """Absolute paths in the image, and what is there. Parents of an entry need no entry of their own."""

    def below(self, path: str) -> Iterator[tuple[str, Entry]]:
        """What is under the directory `path`, by paths relative to it."""
        prefix = path.rstrip("/") + "/"
        return ((key[len(prefix) :], entry) for key, entry in self.items() if key.startswith(prefix) and key != prefix)

    def is_directory(self, path: str) -> bool:
        """Whether `path` is a directory, with an entry or by what is under it."""
        entry = self.get(path)
        return entry.is_directory if entry else next(self.below(path), None) is not None

    def make_directory(self, path: str) -> None:
        """Make the directory, where there is none."""
        self.setdefault(path, DIRECTORY)

    def signature(self) -> Iterator[bytes]:
        """Bytes that change when a file, its permissions or its place does. Reads no file."""
        for path, entry in sorted(self.items()):
            facts = (path, entry.mode, str(entry.source), entry.link, entry.content, entry.size, entry.stamp)
            yield repr((*facts, entry.offset)).encode("utf-8", "surrogateescape")

    def write(self, root: Path) -> None:
        """Make the files under the directory `root`, which is empty or absent."""
        root.mkdir(parents=True, exist_ok=True)
        top = root.resolve()
        folders: dict[str, int] = {}
        members = MemberReader()
        for path, entry in sorted(self.items(), key=_rank):
            place = root / path.lstrip("/")
            try:
                if entry.is_directory:
                    place.mkdir(parents=True, exist_ok=True)
                    folders[str(place)] = stat.S_IMODE(entry.mode)
                    continue
                place.parent.mkdir(parents=True, exist_ok=True)
                if not place.parent.resolve().is_relative_to(top):
                    hint = "copy to the directory that the link names"
                    raise EngineError(f"{path} would be written through a symbolic link", hint)
                _write(place, entry, members)
            except (OSError, shutil.Error) as error:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                hint = "a file and a directory may want the same place, or the disk is full"
                raise EngineError(f"{path} cannot be made from the Dockerfile: {reason}", hint) from error
        members.close()
        for folder, mode in reversed(folders.items()):  # last, because a directory may forbid writing
            Path(folder).chmod(mode | stat.S_IRWXU)


def _rank(item: tuple[str, Entry]) -> tuple[int, str, int, str]:
    """Directories come before what is in them, links before what must not pass through them, members in a row."""
    path, entry = item
    kind = 0 if entry.is_directory else 1 if entry.link is not None else 2
    return (kind, "", 0, path) if entry.offset is None else (kind, str(entry.source), entry.offset, path)


def _write(place: Path, entry: Entry, members: MemberReader) -> None:
    if place.is_symlink():
        place.unlink()
    if entry.link is not None:
        place.symlink_to(entry.link)
        return
    if entry.source is not None and entry.offset is None:
        shutil.copyfile(entry.source, place)  # the system's own copy, which is the fastest
    else:
        with place.open("wb") as file:
            file.writelines(entry.chunks(members))
    if entry.source is not None:
        os.utime(place, ns=(entry.stamp, entry.stamp))
    place.chmod(stat.S_IMODE(entry.mode))
