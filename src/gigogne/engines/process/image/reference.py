"""Writes docs/reference/dockerfile-support.md from the tables that read Dockerfiles.

`python -m gigogne.engines.process.image.reference > docs/reference/dockerfile-support.md`
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

from gigogne.engines.process.image.bases import FAMILIES
from gigogne.engines.process.image.commands import MODULES, TABLES
from gigogne.engines.process.image.installs import OPTIONS
from gigogne.engines.process.image.instructions import INSTRUCTIONS
from gigogne.engines.process.image.shell import Command

__all__ = ["page"]

_BEGINNING = """\
<!-- Made by `python -m gigogne.engines.process.image.reference`: change the tables in the code, not this page. -->

# What the process engine makes of a Dockerfile

Without Docker there is no image to run a command in. What a Dockerfile says is followed by its meaning, in one of three
ways:

- **honoured**: it has the effect that it has in Docker;
- **noted**: it is skipped or done in another way, and `gigogne check` says so;
- **refused**: the service cannot run here, and the problem names the line and the fix, before anything starts.

What is in no table is refused. Only the target and the stages that it needs are read, as BuildKit builds only those.
"""
_RUN = """\
## Commands of RUN

A `RUN` is cut at `&&`, `;` and line ends, also in heredocs. `|| true`, output thrown away and `sudo` change nothing.
Variables, `~` and quotes are expanded as a shell does. Pipes, substitutions, `if` and loops need a real shell, and are
refused; the installer of uv (`curl … astral.sh/uv/install.sh | sh`) is not, because uv is here.
"""
_OPTIONS = """\
## Options of pip and uv

uv installs what `pip` would. An option that is in no row is refused, because what it would change is not known.
"""
_IMAGES = """\
## Images

In `FROM`, and as the `image:` of a service without `build:`. The registry and the digest do not matter.
Servers such as `postgres` and `minio/minio` are stood in for by real servers, in place of a Dockerfile.
"""
_VOLUMES = """\
## Volumes

As in Docker, a named or anonymous volume that is empty gets what the image has at the mount's target, unless the mount
says `volume: {nocopy: true}` or has a `subpath`. One that is not empty hides the image's files. Where these are code
and differ, `gigogne check` and `gigogne run` name them: after a change the old code would still run.
"""


def page() -> str:
    """The whole page."""
    parts = [
        _BEGINNING,
        "## Instructions\n",
        _table(
            ("instruction", "", "meaning, or the fix"),
            ((f"`{name}`", row.support, row.meaning) for name, row in INSTRUCTIONS.items()),
        ),
        _RUN,
        *(part for title, commands in TABLES.items() for part in (f"### {title}\n", _commands(commands))),
        "### Modules of `python -m`\n",
        _commands(MODULES),
        _OPTIONS,
        _table(("options", "what becomes of them"), _options()),
        _IMAGES,
        _table(("image", "what there is in its place"), ((f"`{f.name}`", f.meaning) for f in FAMILIES)),
        _VOLUMES,
    ]
    return "\n".join(parts)


def _commands(commands: Sequence[Command]) -> str:
    rows = ((_code(row.names.split()), row.support, row.meaning) for row in commands)
    return _table(("command", "", "meaning, or the fix"), rows)


def _options() -> Iterator[tuple[str, str]]:
    for meaning, options in OPTIONS.items():
        yield _code(sorted(options, key=lambda option: (option.lstrip("-").lower(), option))), meaning


def _code(words: Iterable[str]) -> str:
    return " ".join(f"`{word}`" for word in words)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |".replace("|  |", "| |"), f"|{'---|' * len(heads)}"]
    lines += [f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
