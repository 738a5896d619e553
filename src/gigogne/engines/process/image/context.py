"""The build context: which files a COPY takes. Nothing outside it is seen, whatever links and `..` say."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from gigogne.engines.process.image.tree import Entry
from gigogne.errors import ComposeError

__all__ = ["Context"]

_PATTERN = frozenset("*?[")


class Context:
    """The directory that `build.context` names, without what its `.dockerignore` excludes."""

    def __init__(self, root: Path, dockerfile: Path | None) -> None:
        self.root = root
        self._ignore_file, patterns = _ignore_patterns(root, dockerfile)
        self._ignore = None
        if patterns:
            from e2b_dockerfile_utils import PatternMatcher

            try:
                self._ignore = PatternMatcher(patterns)
            except ValueError as error:
                raise ComposeError(f"{self._ignore_file}: {error}", "correct or remove this pattern") from None

    def find(self, source: str) -> list[tuple[str, dict[str, Entry]]]:
        """What `source`, a path or a pattern, names.

        Each result is a name and the entries there: a file has one, under the empty path; the entries of a
        directory are relative to it.

        Raises:
            ComposeError: Nothing is there, or it leads out of the context.
        """
        cleaned = posixpath.normpath(source.replace("\\", "/") if os.name == "nt" else source)
        cleaned = cleaned.lstrip("/") or "."
        if cleaned == ".." or cleaned.startswith("../"):
            raise ComposeError(f"{source} leads out of the build context", "build.context must hold what is copied")
        if not self.root.is_dir():
            raise ComposeError(f"the build context {self.root} is not a directory", "correct build.context")
        try:
            names = list(self._expand(cleaned)) if _PATTERN & set(cleaned) else [cleaned]
            found = [(posixpath.basename(name), entries) for name in names if (entries := self._take(name))]
        except OSError as error:
            hint = "exclude it in .dockerignore, or let this user read it"
            raise ComposeError(f"{error.filename} cannot be read: {error.strerror}", hint) from None
        if not found and not _PATTERN & set(cleaned):  # a pattern may fit nothing, as in BuildKit: `poetry.lock*`
            raise self._missing(source, names)
        return found

    def _missing(self, source: str, names: list[str]) -> ComposeError:
        if any(os.path.lexists(self.root / name) for name in names):
            hint = f"remove the pattern from {self._ignore_file}, or add !{names[0]} to it"
            return ComposeError(f"{source} is excluded by {self._ignore_file}", hint)
        return ComposeError(f"{source} is not in the build context {self.root}", "add it, or correct the path")

    def _ignored(self, name: str) -> bool:
        return self._ignore is not None and name != "." and self._ignore.matches(name)

    def _take(self, name: str) -> dict[str, Entry]:
        path = self.root if name == "." else self.root / name
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(os.path.realpath(self.root)):
            raise ComposeError(f"{name} is a link out of the build context", "copy the file itself into the context")
        try:
            status = real.stat()
        except OSError:
            return {}
        if real.is_dir():
            return dict(self._walk(str(real), name, ""))
        # Docker follows a link that COPY names itself, and keeps those that it finds inside a directory.
        return {} if self._ignored(name) else {"": Entry.of(str(real), status)}

    def _walk(self, folder: str, name: str, inside: str) -> Iterator[tuple[str, Entry]]:
        """The entries under `folder`, which is `name` in the context and `inside` in what is being copied."""
        if not self._ignored(name):
            yield inside, Entry(os.stat(folder).st_mode)  # noqa: PTH116 - a hot loop
        with os.scandir(folder) as children:
            for child in children:
                there = child.name if name == "." else f"{name}/{child.name}"
                here = f"{inside}/{child.name}" if inside else child.name
                ignored = self._ignored(there)
                if child.is_dir(follow_symlinks=False):
                    if not ignored or (self._ignore and self._ignore.may_match_under(there)):
                        yield from self._walk(child.path, there, here)
                elif not ignored and (child.is_symlink() or child.is_file()):  # no sockets, no devices
                    yield here, Entry.of(child.path, child.stat(follow_symlinks=False))

    def _expand(self, pattern: str) -> Iterator[str]:
        """The names that a pattern stands for: each segment matches one level, as in Go's filepath.Match."""
        names = [""]
        for segment in pattern.replace("[^", "[!").split("/"):
            names = [
                posixpath.join(name, child)
                for name in names
                for child in self._children(name, segment)
                if os.path.lexists(self.root / name / child)
            ]
        return iter(names)

    def _children(self, name: str, segment: str) -> list[str]:
        if not _PATTERN & set(segment):
            return [segment]
        folder = self.root / name
        real = os.path.realpath(folder)
        if not folder.is_dir() or not Path(real).is_relative_to(os.path.realpath(self.root)):
            return []
        return sorted(child for child in os.listdir(real) if fnmatchcase(child, segment))  # noqa: PTH208


def _ignore_patterns(root: Path, dockerfile: Path | None) -> tuple[str, list[str]]:
    """The name and the patterns of the ignore file: the Dockerfile's own wins over the context's."""
    candidates = [root / ".dockerignore"]
    if dockerfile is not None:
        candidates.insert(0, dockerfile.with_name(f"{dockerfile.name}.dockerignore"))
    for file in candidates:
        try:
            return file.name, file.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
        except OSError:
            continue
    return ".dockerignore", []
