"""What each Compose file itself says of a service, as YAML nodes with their lines: the layers, the winning one first.

Compose merges the layers and says what comes out. This keeps them apart, to tell which line a value was written on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from gigogne.compose.locate import Location
from gigogne.compose.nodes import field, items, read_yaml
from gigogne.core.model import Service

__all__ = [
    "Layer",
    "Source",
    "discards_lower",
    "dockerfile_place",
    "service_layers",
    "sources",
]


@dataclass(frozen=True, slots=True)
class Source:
    """A Compose file that was read.

    Attributes:
        file: Its path.
        root: Its YAML.
        directory: Where the relative paths of its `include` and `extends` begin.
        env_files: What it is interpolated with besides the project's own env files, the winning one first.
    """

    file: Path
    root: yaml.Node
    directory: Path
    env_files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Layer:
    """What one file says of one service."""

    source: Source
    node: yaml.Node

    def at(self, node: yaml.Node) -> Location:
        """The place of a node of this layer."""
        return Location(self.source.file, node.start_mark.line + 1)


def discards_lower(node: yaml.Node) -> bool:
    """Whether `!override` or `!reset` throws away what the layers below say."""
    return node.tag in ("!override", "!reset")


def sources(files: Sequence[Path], directory: Path) -> list[Source]:
    """The files and those that they include, the winning one first."""
    found: list[Source] = []
    for file in files:
        found += _read(Source(file, yaml.ScalarNode("", ""), directory))
    return found[::-1]


def _read(unread: Source) -> Iterator[Source]:
    """What the file includes, then the file."""
    root = read_yaml(unread.file)
    if root is None:
        return
    source = Source(unread.file, root, unread.directory, unread.env_files)
    for entry in items(field(root, "include")):
        yield from _included(entry, source)
    yield source


def _included(entry: yaml.Node, parent: Source) -> Iterator[Source]:
    """The files of one entry of `include`, whose paths begin at the directory of the file that includes them."""
    long = isinstance(entry, yaml.MappingNode)
    paths = [parent.directory / path.value for path in items(field(entry, "path") if long else entry)]
    given = field(entry, "project_directory")
    if not paths:
        return
    directory = paths[0].parent if given is None else parent.directory / given.value
    named = [parent.directory / path.value for path in items(field(entry, "env_file"))][::-1]
    default = [path for path in [directory / ".env"] if path.is_file()]
    for path in paths:
        yield from _read(Source(path, entry, directory, (*parent.env_files, *(named or default))))


def service_layers(name: str, files: Sequence[Source]) -> list[Layer]:
    """What the files say of a service, the winning layer first; what it extends comes after it."""
    found: dict[tuple[Path, int], Layer] = {}
    for source in files:
        for layer in _extended(name, source, ()):
            # A file may be included twice, and two files may extend the same service: once is enough.
            found.setdefault((layer.source.file, layer.node.start_mark.index), layer)
            if discards_lower(layer.node):
                return list(found.values())
    return list(found.values())


def _extended(name: str, source: Source, seen: tuple[tuple[Path, str], ...]) -> Iterator[Layer]:
    node = field(source.root, "services", name)
    if node is None or (source.file, name) in seen:
        return
    yield Layer(source, node)
    base = field(node, "extends")
    if base is None:
        return
    service = field(base, "service") if isinstance(base, yaml.MappingNode) else base
    file = field(base, "file")
    if service is None:
        return
    other: Source | None = source
    if file is not None:
        other = _beside(file.value, source)
    if other is not None:
        yield from _extended(service.value, other, (*seen, (source.file, name)))


def _beside(name: str, source: Source) -> Source | None:
    """The file that an `extends` of `source` names."""
    for directory in (source.directory, source.file.parent):
        root = read_yaml(directory / name)
        if root is not None:
            return Source(directory / name, root, (directory / name).parent, source.env_files)
    return None


def dockerfile_place(service: Service, layers: Sequence[Layer], line: int) -> Location | None:
    """The place of a line of the service's Dockerfile, which may stand inside a Compose file."""
    if service.build is None or service.build.dockerfile is not None:
        return Location(service.build.dockerfile, line) if service.build and service.build.dockerfile else None
    for layer in layers:
        node = field(layer.node, "build", "dockerfile_inline")
        if isinstance(node, yaml.ScalarNode):
            # The text of a block begins on the line behind its bar; of the other styles no line is sure.
            return Location(layer.source.file, node.start_mark.line + 1 + line if node.style == "|" else None)
    return None
