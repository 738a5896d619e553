"""Paths of the container that the image's own code spells out: without the sandbox they are this machine's.

A job that writes to `/data/out.csv` in its code would succeed, and the volume would stay empty: the failure that
Gigogne exists to end. So the code is read before it runs. Only a path in quotes counts, in a line that does not ask the
environment: there the path is a default, and variables are rewritten.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from gigogne.engines.process.image.tree import Tree

__all__ = ["Spelled", "spelled_paths", "would_be_written"]

_CODE = frozenset(".py .sh .bash .r .jl .js .mjs .toml .cfg .ini".split())
# A larger file is data, whatever its name says.
_MOST_BYTES = 1 << 20
_ASKS = re.compile(rb"environ|getenv|\$\{?[A-Z]|argparse|add_argument|default\s*=")

Spelled = tuple[Path, int, str]
"""A file of the build context, its line, and the mount target that it spells out."""


def spelled_paths(tree: Tree, targets: Collection[str]) -> Iterator[Spelled]:
    """Where the code in an image spells out one of the mount targets; the first place of each target in each file."""
    if not targets:
        return
    names = b"|".join(re.escape(target.rstrip("/").encode()) for target in sorted(targets, key=len, reverse=True))
    pattern = re.compile(rb"""["'](""" + names + rb""")(?=["'/])""")
    for entry in tree.values():
        source = entry.source
        if source is None or source.suffix.lower() not in _CODE or entry.size > _MOST_BYTES:
            continue
        seen: set[bytes] = set()
        for number, line in enumerate(entry.read().splitlines(), 1):
            for match in pattern.finditer(line):
                if match[1] not in seen and not line.lstrip().startswith(b"#") and not _ASKS.search(line):
                    seen.add(match[1])
                    yield source, number, match[1].decode()


def would_be_written(path: str) -> bool:
    """Whether this user could write there on this machine, and so would not notice."""
    place = Path(path)
    while not place.exists() and place != place.parent:
        place = place.parent
    return os.access(place, os.W_OK)
