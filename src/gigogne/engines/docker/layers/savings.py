"""What of an image could still go: files that no run needs, bytes that are paid twice, secrets that came along.

A pure function of the layers. What the image in FROM brought is not ours to take away: a layer above it can hide files,
and never makes an image smaller.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from gigogne.engines.docker.layers.archive import Entry, Layer

__all__ = ["Saving", "largest", "savings_of"]

_SHOWN = 3
_STAGE = "do it in an earlier stage, and COPY --from= only what the service runs"
_PACKAGES = r"(?:.+/)?(?:site|dist)-packages/"


@dataclass(frozen=True, slots=True)
class Saving:
    """One kind of thing that could go.

    Attributes:
        what: What it is, in words.
        bytes: How much smaller the image would be.
        files: How many files these are.
        places: Where most of it is: directories, or files.
        fix: What to do.
        secret: Whether it is about a secret, and not about size.
    """

    what: str
    bytes: int
    files: int
    places: tuple[str, ...]
    fix: str
    secret: bool = False


@dataclass(frozen=True, slots=True)
class _Rule:
    """Files of a kind, by their path: the match ends where the place to name does."""

    what: str
    path: re.Pattern[str]
    fix: str


def _rule(what: str, path: str, fix: str) -> _Rule:
    return _Rule(what, re.compile(path), fix)


# The first that matches has the file.
_RULES = (
    _rule(
        "lists and caches of apt",
        r"var/(?:lib/apt/lists|cache/apt|cache/debconf|log/apt)(?=/)|var/log/(?:dpkg|alternatives)\.log$",
        "end the same RUN with `&& rm -rf /var/lib/apt/lists/*`, or RUN --mount=type=cache,target=/var/lib/apt",
    ),
    _rule(
        "caches of installers",
        r"(?:.+/)?(?:\.cache(?:/[^/]+)?|\.npm|\.cargo/registry|conda/pkgs)(?=/)",
        "pip install --no-cache-dir, uv --no-cache; or RUN --mount=type=cache,target=/root/.cache",
    ),
    _rule(
        "temporary files",
        r"(?:var/)?tmp/[^/]+",
        "remove them in the RUN that makes them, or RUN --mount=type=tmpfs,target=/tmp",
    ),
    _rule(
        "compilers and build tools",
        r"usr/lib(?:exec)?/gcc(?=/)|usr/lib/llvm[^/]*(?=/)|usr/local/go(?=/)|(?:root|home/[^/]+)/\.(?:cargo|rustup)(?=/)"
        r"|usr/lib/(?:[^/]+/)?lib(?:asan|tsan|lsan|ubsan|hwasan|itm|bfd|opcodes|gprofng|cc1)[\w.-]*$"
        r"|usr/(?:local/)?bin/(?:[\w]+-linux-gnu-)?(?:gcc|g\+\+|cpp|c\+\+|cc|make|cmake|ninja|ld(?:\.\w+)?|as|gold|dwp|lto-dump|rustc|cargo|gfortran|clang(?:\+\+)?)(?:-[\d.]+)?$"
        rf"|{_PACKAGES}(?:cmake|ninja|Cython|maturin)(?=/)",
        _STAGE,
    ),
    _rule(
        "installers of packages",
        rf"{_PACKAGES}(?:pip|uv|wheel|setuptools|pkg_resources|_distutils_hack|poetry(?:_\w+)?)(?=/)"
        rf"|{_PACKAGES}(?:pip|uv|wheel|setuptools|poetry)-[^/]*-info(?=/)"
        r"|(?:.+/)?bin/(?:uvx?|pip[\d.]*|poetry)$|(?:.+/)?lib/python3[\d.]*/ensurepip(?=/)",
        "make the environment by `uv venv`, which puts no pip into it, in an earlier stage, and COPY --from= it",
    ),
    _rule(
        "tests of packages",
        rf"{_PACKAGES}(?:.+/)?tests?(?=/)",
        "end the RUN that installs with rm -rf of these folders, in the stage that is copied from",
    ),
    _rule(
        "headers, sources and static libraries",
        rf"usr/(?:local/)?include(?=/)|{_PACKAGES}(?:[^/]+/)*?include(?=/)|{_PACKAGES}.+\.(?:a|c|cc|cpp|cxx|h|hpp|pxd|pxi|pyx)$"
        r"|usr/(?:local/)?lib/.+\.a$",
        "end the RUN that installs with rm -rf of these, in the stage that is copied from; no -dev package here",
    ),
    _rule(
        "manuals",
        r"usr/(?:local/)?share/(?:doc|man|info|locale|lintian)(?=/)",
        "apt-get install --no-install-recommends, then rm -rf /usr/share/doc /usr/share/man in the same RUN",
    ),
)
_SECRET = re.compile(
    r"(?:.+/)?(?:\.env(?:\.(?!example|sample|template|dist)[\w.-]+)?|\.netrc|_netrc|\.pypirc|\.npmrc|\.pgpass|\.git-credentials"
    r"|id_(?:rsa|dsa|ecdsa|ed25519)|[^/]+\.(?:key|p12|pfx|keystore)|\.docker/config\.json|\.aws/credentials|\.kube/config)$"
    r"|(?:.+/)?\.git(?=/)"
)
_OF_PYTHON = re.compile(rf"({_PACKAGES})([^/]+)")
_BYTE_CODE = re.compile(r"(.*)__pycache__/([^/]+)\.((?:cpython|pypy)-?\d+)((?:\.opt-\d)?)\.pyc$")


@dataclass(frozen=True, slots=True)
class _File:
    """A file of a layer. `hidden` says how a later layer hides it; empty where it is seen."""

    entry: Entry
    layer: int
    hidden: str = ""


def savings_of(layers: Sequence[Layer], base: int) -> list[Saving]:
    """What could go of the layers above the first `base` ones, the largest first and secrets before all."""
    files = list(_files(layers))
    own = [file for file in files if file.layer >= base]
    found = [*_secrets(own), *_twice(own, files, base), *_useless([file.entry for file in own if not file.hidden])]
    return sorted(found, key=lambda saving: (not saving.secret, -saving.bytes))


def largest(layers: Sequence[Layer], base: int, count: int = 5) -> list[tuple[str, int]]:
    """What takes most of the layers above the first `base` ones: packages of Python, else directories."""
    sizes: Counter[str] = Counter()
    for file in _files(layers):
        if file.layer >= base and not file.hidden:
            sizes[_part(file.entry.path)] += file.entry.size
    return [(part, size) for part, size in sizes.most_common(count) if size]


def _part(path: str) -> str:
    """The package that a file belongs to, with the libraries that its wheel brings; else its directory."""
    package = _OF_PYTHON.match(path)
    if package is not None:
        return "/" + package[1] + re.sub(r"(\.libs|-[\d.]+\.(dist|egg)-info)$", "", package[2])
    return "/" + "/".join(PurePosixPath(path).parts[:-1][:3])


def _files(layers: Sequence[Layer]) -> Iterator[_File]:
    """Every file of every layer, with what later layers do to it."""
    seen: dict[str, tuple[Entry, int]] = {}
    within: defaultdict[str, set[str]] = defaultdict(set)

    def hide(path: str, how: str, *, itself: bool = True) -> Iterator[_File]:
        for name in within.pop(path, ()):
            yield from hide(f"{path}/{name}", how)
        if itself and (known := seen.pop(path, None)) is not None:
            yield _File(*known, how)

    for number, layer in enumerate(layers):
        # Of one layer, what goes goes first: it speaks of those below.
        for entry in sorted(layer.entries, key=lambda each: not each.gone):
            if entry.gone:
                yield from hide(entry.path, "deleted", itself=not entry.folder)
            elif not entry.folder or entry.path in seen:
                yield from hide(entry.path, "replaced")
            if not entry.gone and not entry.folder:
                seen[entry.path] = (entry, number)
                _remember(entry.path, within)
    yield from (_File(entry, number) for entry, number in seen.values())


def _remember(path: str, within: defaultdict[str, set[str]]) -> None:
    """Put a path into the tree of directories."""
    while path:
        folder, _, name = path.rpartition("/")
        if name in within[folder]:
            return
        within[folder].add(name)
        path = folder


def _useless(entries: Sequence[Entry]) -> Iterator[Saving]:
    """Files that are seen and that no run needs."""
    found: defaultdict[str, list[tuple[str, Entry]]] = defaultdict(list)
    for entry in entries:
        for rule in _RULES:
            if match := rule.path.match(entry.path):
                found[rule.what].append((match[0], entry))
                break
    fixes = {rule.what: rule.fix for rule in _RULES}
    for what, placed in found.items():
        if any(entry.size for _, entry in placed):
            yield _saving(what, placed, fixes[what])
    doubles = [(entry.path, entry) for entry in _doubled_byte_code(entries)]
    if doubles:
        fix = "compile once, by the Python of the image: uv pip install --compile-bytecode, PYTHONDONTWRITEBYTECODE=1"
        yield _saving("byte code of another Python, or a second time", doubles, fix)


def _doubled_byte_code(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Byte code that is there for another version or level than most, beside one that is for that."""
    compiled = [(match, entry) for entry in entries if (match := _BYTE_CODE.match(entry.path))]
    counts = Counter(match[3] + match[4] for match, _ in compiled)
    usual = max(counts, key=lambda tag: counts[tag], default="")
    there = {(match[1], match[2]) for match, _ in compiled if match[3] + match[4] == usual}
    for match, entry in compiled:
        if match[3] + match[4] != usual and (match[1], match[2]) in there:
            yield entry


def _twice(own: Sequence[_File], files: Sequence[_File], base: int) -> Iterator[Saving]:
    """Bytes of ours that a later layer hides, and copies that change an owner or a mode alone."""
    deleted = [(_folder(file.entry.path), file.entry) for file in own if file.hidden == "deleted"]
    if any(entry.size for _, entry in deleted):
        fix = "remove them in the RUN that makes them, or make them in an earlier stage: a later layer only hides them"
        yield _saving("deleted by a later layer, and still there", deleted, fix)
    replaced = [(_folder(file.entry.path), file.entry) for file in own if file.hidden == "replaced"]
    if any(entry.size for _, entry in replaced):
        fix = "write them once: COPY --chown= and --chmod= in place of RUN chown and chmod, one RUN in place of two"
        yield _saving("written again by a later layer: paid twice", replaced, fix)
    below = {file.entry.path: file.entry for file in files if file.layer < base and file.hidden == "replaced"}
    again = [(_folder(file.entry.path), file.entry) for file in own if _is_same(file, below.get(file.entry.path))]
    if any(entry.size for _, entry in again):
        fix = "leave their owner and mode: a copy of each is in the layer that changes them"
        yield _saving("files of the base image with another owner or mode", again, fix)


def _is_same(file: _File, below: Entry | None) -> bool:
    return below is not None and (file.entry.size, file.entry.changed) == (below.size, below.changed)


def _secrets(own: Sequence[_File]) -> Iterator[Saving]:
    """Files that look like secrets. Who has the image has them, whatever their mode, and those that are hidden too."""
    placed = ((_SECRET.match(file.entry.path), file) for file in own if not _OF_PYTHON.match(file.entry.path))
    found = [(match[0], file) for match, file in placed if match]
    if found:
        read = any(file.entry.mode & 0o004 for _, file in found)
        hidden = any(file.hidden for _, file in found)
        words = "files that look like secrets" + (", which every user of the container can read" if read else "")
        fix = "name them in .dockerignore; give them when it runs (secrets:), or RUN --mount=type=secret to build"
        fix += "; deleting them in a later layer hides nothing" if hidden else ""
        yield _saving(words, [(place, file.entry) for place, file in found], fix, secret=True)


def _folder(path: str) -> str:
    return str(PurePosixPath(*PurePosixPath(path).parts[:-1][:5]))


def _saving(what: str, placed: Sequence[tuple[str, Entry]], fix: str, *, secret: bool = False) -> Saving:
    sizes: Counter[str] = Counter()
    for place, entry in placed:
        sizes[place] += entry.size
    places = tuple("/" + place for place, _ in sizes.most_common(_SHOWN))
    return Saving(what, sum(sizes.values()), len(placed), places, fix, secret)
