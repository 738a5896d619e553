"""YAML files as nodes, which know their lines: only to say where something stands, never for its value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

__all__ = ["field", "fields", "items", "read_yaml", "scalars"]

_MERGE = "tag:yaml.org,2002:merge"
# The same nodes, ten times as fast, where the wheel has libyaml in it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(file: Path) -> yaml.Node | None:
    """The file as YAML nodes, which know their lines; None where there is no such file, or no YAML in it."""
    try:
        return yaml.compose(file.read_text(encoding="utf-8-sig"), Loader=_LOADER)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None


def fields(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    """Keys and values of a mapping: its own, then those that `<<:` merges in. The first of a name wins."""
    own, merged = [], []
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if key.tag == _MERGE:
            for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                merged += fields(part)
        else:
            own.append((key, value))
    return own + merged


def field(node: yaml.Node | None, *path: str) -> yaml.Node | None:
    """The value at a path of keys; None where there is none."""
    for name in path:
        node = next((value for key, value in fields(node) if key.value == name), None)
    return node


def items(node: yaml.Node | None) -> list[yaml.Node]:
    """The entries of a list; one entry alone may stand for itself."""
    if node is None or node.tag.endswith(":null"):
        return []
    return list(node.value) if isinstance(node, yaml.SequenceNode) else [node]


def scalars(node: yaml.Node | None) -> Iterator[str]:
    """Every scalar in a node, keys too, aliases and merges followed."""
    if isinstance(node, yaml.ScalarNode):
        yield node.value
    elif isinstance(node, yaml.SequenceNode):
        for entry in node.value:
            yield from scalars(entry)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from scalars(key)
            yield from scalars(value)
