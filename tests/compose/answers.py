"""The explanation of a project made of strings, and the short words in which the tests ask it."""

from __future__ import annotations

import os
import textwrap
from dataclasses import dataclass
from pathlib import Path

from gigogne.compose import LoadOptions, load_project
from gigogne.compose.explanation import Explanation, Lost, MountPath, Variable
from gigogne.compose.provenance import explanation

__all__ = ["Answers", "explain", "service"]


@dataclass(frozen=True)
class Answers:
    """An explanation, and the short words in which the tests ask it."""

    folder: Path
    made: Explanation

    def variable(self, name: str) -> Variable:
        """A variable by its name."""
        return next(variable for variable in self.made.variables if variable.name == name)

    def value(self, name: str) -> str | None:
        """Its value."""
        return self.variable(name).value

    def chain(self, name: str) -> list[str]:
        """The places that set a variable, the winner first, relative to the folder."""
        return [self.short(setting.where) for setting in self.variable(name).settings]

    def feeds(self, name: str) -> list[str]:
        """What the winner reads, as `X shell`, `X .env:1`, `X nowhere default`."""
        return [
            " ".join(filter(None, [f.name, self.short(f.where) if f.where else str(f.kind), f.taken]))
            for f in self.variable(name).settings[0].feeds
        ]

    def lost(self, name: str) -> list[Lost]:
        """What is said to be lost of a name."""
        return [lost for lost in self.made.lost if lost.name == name]

    def mount(self, target: str) -> MountPath:
        """The mount at a target."""
        return next(mount for mount in self.made.mounts if mount.target == target)

    def short(self, where: object) -> str:
        """A place, relative to the folder."""
        return str(where).removeprefix(f"{self.folder}{os.sep}").replace(os.sep, "/")


def explain(files: dict[str, str], options: LoadOptions | None = None, service: str = "s") -> Answers:
    """The explanation of a service of these files; a file's text is dedented unless it begins with no newline."""
    for name, text in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(textwrap.dedent(text).lstrip("\n").encode() if text.startswith("\n") else text.encode())
    options = options or LoadOptions()
    project = load_project(options, (service,))
    made = explanation(options, project, service, lambda mount: Path("kept", mount.source) if mount.source else None)
    return Answers(Path.cwd(), made)


def service(body: str) -> dict[str, str]:
    """A `docker-compose.yml` whose service `s` begins on line 2, its body on line 4."""
    return {"docker-compose.yml": "services:\n  s:\n    image: x\n" + textwrap.indent(textwrap.dedent(body), "    ")}
