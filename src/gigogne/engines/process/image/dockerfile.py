"""Reads a service's Dockerfile into a `Recipe`.

The parser is BuildKit's, in pure Python; this module gives its instructions their meaning. Only the target
and the stages that it needs are read, as BuildKit builds only those.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from e2b_dockerfile_utils import DockerfileInstruction, DockerfileSyntaxError, parse_dockerfile_ast

from gigogne.core.model import Build, Project, Service
from gigogne.engines.process.image.bases import FAMILIES, Base, base_of
from gigogne.engines.process.image.draft import Draft, Notes, started
from gigogne.engines.process.image.instructions import WITH_DOCKER, InstructionReader, Origin
from gigogne.engines.process.image.recipe import Recipe, Stage
from gigogne.errors import ComposeError

__all__ = ["read_recipe"]


@dataclass(frozen=True, slots=True)
class _Part:
    """The instructions of one stage, before they are read."""

    start: DockerfileInstruction
    image: str
    name: str
    body: list[DockerfileInstruction]


def read_recipe(service: Service, project: Project) -> Recipe:
    """Read the Dockerfile of `service`, or the image that it names.

    Raises:
        ComposeError: The Dockerfile is absent, does not parse, or has no such target.
    """
    text, label = _source(service, project)
    notes = Notes(service.name, label, numbered=service.build is not None)
    reader = _Reader(text, service.build or Build(Path(), None), notes)
    return reader.recipe((service.entrypoint, service.command))


def _source(service: Service, project: Project) -> tuple[str, str]:
    build = service.build
    if build is None:
        return f"FROM {service.image}\n", f"services.{service.name}.image"
    if build.dockerfile is None:
        text = (build.dockerfile_inline or "").replace("\r\n", "\n")
        return text, f"services.{service.name}.build.dockerfile_inline"
    label = build.dockerfile.as_posix()
    if build.dockerfile.is_relative_to(project.directory):
        label = build.dockerfile.relative_to(project.directory).as_posix()
    try:
        return build.dockerfile.read_text(encoding="utf-8-sig").replace("\r\n", "\n"), label
    except FileNotFoundError:
        hint = f"write it, or correct services.{service.name}.build in the Compose file"
        raise ComposeError(f"{label}: there is no such Dockerfile", hint) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error.strerror)
        raise ComposeError(f"{label}: cannot be read: {reason}", "correct the file") from None


class _Reader:
    """Reads the stages of one Dockerfile, each once, when another needs it."""

    def __init__(self, text: str, build: Build, notes: Notes) -> None:
        self._notes = notes
        self._target_name = build.target
        try:
            syntax = parse_dockerfile_ast(text)
        except DockerfileSyntaxError as error:
            reason = re.sub(r"^Dockerfile parse error( on line \d+)?: ", "", str(error))
            where = f"{notes.label}:{error.line}" if error.line else notes.label
            raise ComposeError(f"{where}: {reason}", "correct this line of the Dockerfile") from None
        self._instructions = InstructionReader(notes, text.split("\n"), syntax.escape_token, build.args, self._origin)
        self._parts: list[_Part] = []
        self._drafts: dict[int, Draft] = {}
        self._split(syntax.instructions)

    def recipe(self, own: tuple[tuple[str, ...] | None, tuple[str, ...] | None]) -> Recipe:
        """The recipe; `own` are the entry point and the command that Compose gives."""
        target = self._target()
        last = self._stage(target)
        words = [*(last.entrypoint if own[0] is None else own[0]), *(last.command if own[1] is None else own[1])]
        if last.has_uv and re.search(r"(?<![\w/.-])uvx?\b", " ".join(words)):
            last.keep_uv(self._notes)
        needed, waiting = {target}, [target]
        while waiting:
            fresh = self._drafts[waiting.pop()].needs - needed
            needed |= fresh
            waiting += fresh
        stages = tuple(
            Stage(draft.index, draft.name, draft.base, tuple(draft.steps))
            for draft in (self._drafts[index] for index in sorted(needed))
        )
        config = last.config(self._notes)
        root = last
        while root.base is not None:
            root = self._drafts[root.base]
        service, label, problems = self._notes.service, self._notes.label, tuple(self._notes.found)
        return Recipe(
            service, label, last.python, root.line, stages, config, problems, self._notes.numbered, last.userland
        )

    def _split(self, instructions: Sequence[DockerfileInstruction]) -> None:
        for instruction in instructions:
            if instruction.name == "FROM":
                self._from(instruction)
            elif self._parts:
                self._parts[-1].body.append(instruction)
            elif instruction.name == "ARG":
                self._instructions.read_outer(instruction)
            else:
                message = f"{instruction.name} before the first FROM"
                raise self._instructions.wrong(instruction, message, "put FROM first")
        if not self._parts:
            raise ComposeError(f"{self._notes.label}: there is no FROM", "begin it with FROM python:3.12-slim")

    def _from(self, start: DockerfileInstruction) -> None:
        words = [self._instructions.word(start, word, self._instructions.outer) for word in start.args]
        named = len(words) == 3 and words[1].lower() == "as"
        if not words or not words[0] or not (named or len(words) == 1):
            message = "FROM must be FROM image [AS name]"
            raise self._instructions.wrong(start, message, "a variable in it may be unset")
        self._parts.append(_Part(start, words[0], words[2] if named else "", []))

    def _target(self) -> int:
        wanted = self._target_name
        if not wanted:
            return len(self._parts) - 1
        found = self._find(wanted, len(self._parts))
        if found is None:
            names = ", ".join(part.name for part in self._parts if part.name) or "none has a name"
            message = f"{self._notes.label}: there is no stage {wanted!r}"
            raise ComposeError(message, f"build.target names a stage of the Dockerfile ({names})")
        return found

    def _find(self, name: str, before: int) -> int | None:
        """The index of the stage `name`, a name or a number, among those before index `before`."""
        for index in range(before - 1, -1, -1):
            if self._parts[index].name.lower() == name.lower() != "":
                return index
        return int(name) if name.isdecimal() and int(name) < before else None

    def _stage(self, index: int) -> Draft:
        if index not in self._drafts:
            draft = self._drafts[index] = self._start(index)
            for instruction in self._parts[index].body:
                self._instructions.read(draft, instruction)
        return self._drafts[index]

    def _start(self, index: int) -> Draft:
        part = self._parts[index]
        line = part.start.start_line
        base = self._find(part.image, index)
        if base is not None and not part.image.isdecimal():
            return self._stage(base).heir(index, part.name, line)
        found = base_of(part.image)
        if found is None:
            message = f"the image {part.image} is not a Python 3 image"
            known = ", ".join(family.name for family in FAMILIES)
            hint = f"start from python:3.12-slim, or {WITH_DOCKER} (known are: {known})"
            if not self._notes.numbered:
                message = f"the image {part.image} can only run in Docker"
                hint = f"give the service a build:, or {WITH_DOCKER} (known are: {known})"
            self._notes.refuse(line, message, hint)
        elif found.notice[0]:
            self._notes.remark(line, *found.notice)
        return started(index, part.name, line, found or Base())

    def _origin(self, draft: Draft, line: int, name: str) -> Origin:
        """What `--from=name` means in the stage `draft`."""
        index = self._find(name, draft.index)
        if index is not None:
            draft.needs.add(index)
            only_uv = self._stage(index).only_uv
            draft.has_uv = draft.has_uv or only_uv
            return Origin(index, known=not only_uv)
        found = base_of(name)
        if found is None or not (found.only_uv or "/uv" in name):
            message = f"--from={name} is not an earlier stage of this Dockerfile"
            self._notes.refuse(line, message, f"correct the name; for the files of another image, {WITH_DOCKER}")
        else:
            draft.has_uv = True
        return Origin(known=False)
