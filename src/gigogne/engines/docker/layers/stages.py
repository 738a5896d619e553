"""A Dockerfile as stages: which one is built, what each starts from, and the text of every instruction."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile

from e2b_dockerfile_utils import DockerfileInstruction, DockerfileSyntaxError, ShellLex, parse_dockerfile_ast

from gigogne.core.model import Project, Service
from gigogne.errors import ComposeError

__all__ = ["Dockerfile", "Stage", "read_dockerfile"]

_DIRECTIVE = re.compile(r"#\s*(syntax|escape|check)\s*=", re.I)


@dataclass(frozen=True, slots=True)
class Stage:
    """One `FROM` and the instructions below it. `image` is written as in the file, with its variables."""

    index: int
    start: DockerfileInstruction
    image: str
    name: str
    body: tuple[DockerfileInstruction, ...]


@dataclass(frozen=True)
class Dockerfile:
    """A Dockerfile that the builder can read.

    Attributes:
        text: The whole of it, with Unix line ends.
        label: What to call it in messages: `docker/data/Dockerfile`.
    """

    text: str
    label: str

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """Its stages, in their order."""
        bodies: list[tuple[DockerfileInstruction, list[DockerfileInstruction]]] = []
        for instruction in self._syntax:
            if instruction.name == "FROM":
                bodies.append((instruction, []))
            elif bodies:
                bodies[-1][1].append(instruction)
        if not bodies:
            raise ComposeError(f"{self.label}: there is no FROM", "begin it with FROM python:3.12-slim")
        return tuple(_stage(index, start, body) for index, (start, body) in enumerate(bodies))

    @cached_property
    def outer(self) -> tuple[DockerfileInstruction, ...]:
        """The ARGs before the first FROM."""
        return tuple(takewhile(lambda instruction: instruction.name != "FROM", self._syntax))

    @property
    def directives(self) -> list[str]:
        """The lines at its very beginning that speak to the builder: `# syntax=…`, `# escape=…`."""
        return list(takewhile(_DIRECTIVE.match, self.text.split("\n")))

    def source(self, instruction: DockerfileInstruction) -> str:
        """The instruction as it is written, with all its lines."""
        return "\n".join(self.text.split("\n")[instruction.start_line - 1 : instruction.end_line])

    def target(self, name: str | None) -> Stage:
        """The stage of that name or number; the last one where none is named.

        Raises:
            ComposeError: There is none.
        """
        found = self.find(name, len(self.stages)) if name else self.stages[-1]
        if found is None:
            names = ", ".join(stage.name for stage in self.stages if stage.name) or "none has a name"
            hint = f"build.target names a stage of the Dockerfile ({names})"
            raise ComposeError(f"{self.label}: there is no stage {name!r}", hint)
        return found

    def find(self, name: str, before: int) -> Stage | None:
        """The stage of that name or number among the first `before` ones, the latest first."""
        earlier = self.stages[:before]
        named = [stage for stage in earlier if stage.name and stage.name.lower() == name.lower()]
        if named:
            return named[-1]
        return earlier[int(name)] if name.isdecimal() and int(name) < len(earlier) else None

    def parent(self, stage: Stage) -> Stage | None:
        """The stage that this one is built on; None where that is an image."""
        return None if stage.image.isdecimal() else self.find(stage.image, stage.index)

    def chain(self, stage: Stage) -> list[Stage]:
        """The stage behind those that it is built on: the first one starts from an image."""
        found = [stage]
        while (parent := self.parent(found[0])) is not None:
            found.insert(0, parent)
        return found

    def base(self, stage: Stage, arguments: Mapping[str, str]) -> str:
        """The image that the stage comes from in the end, with the values of `arguments` put into its name."""
        known: dict[str, str] = {}
        for word in (word for instruction in self.outer for word in instruction.args):
            name, _, default = word.partition("=")
            known[name] = arguments.get(name) or self._expanded(default, known)
        return self._expanded(self.chain(stage)[0].image, known)

    def _expanded(self, word: str, variables: Mapping[str, str]) -> str:
        try:
            return ShellLex(self._escape, env=dict(variables)).process_word(word)
        except ValueError:  # the builder says what is wrong with it
            return word

    @cached_property
    def _syntax(self) -> Sequence[DockerfileInstruction]:
        return self._parsed[0]

    @property
    def _escape(self) -> str:
        return self._parsed[1]

    @cached_property
    def _parsed(self) -> tuple[Sequence[DockerfileInstruction], str]:
        try:
            syntax = parse_dockerfile_ast(self.text)
        except DockerfileSyntaxError as error:
            reason = re.sub(r"^Dockerfile parse error( on line \d+)?: ", "", str(error))
            where = f"{self.label}:{error.line}" if error.line else self.label
            raise ComposeError(f"{where}: {reason}", "correct this line of the Dockerfile") from None
        return syntax.instructions, syntax.escape_token


def read_dockerfile(service: Service, project: Project) -> Dockerfile:
    """The Dockerfile of a service that has a `build:`.

    Raises:
        ComposeError: It is not there, or cannot be read.
    """
    build = service.build
    assert build is not None
    if build.dockerfile is None:
        text = build.dockerfile_inline or ""
        return Dockerfile(text.replace("\r\n", "\n"), f"services.{service.name}.build.dockerfile_inline")
    inside = build.dockerfile.is_relative_to(project.directory)
    label = (build.dockerfile.relative_to(project.directory) if inside else build.dockerfile).as_posix()
    try:
        return Dockerfile(build.dockerfile.read_text(encoding="utf-8-sig").replace("\r\n", "\n"), label)
    except OSError as error:
        hint = f"write it, or correct services.{service.name}.build in the Compose file"
        raise ComposeError(f"{label}: it cannot be read: {error.strerror}", hint) from None
    except UnicodeDecodeError:
        raise ComposeError(f"{label}: it is not UTF-8 text", "save it as UTF-8") from None


def _stage(index: int, start: DockerfileInstruction, body: Sequence[DockerfileInstruction]) -> Stage:
    image, *rest = start.args or [""]
    name = rest[1] if len(rest) == 2 and rest[0].lower() == "as" else ""
    return Stage(index, start, image, name, tuple(body))
