"""What planning and explaining need of a Dockerfile: HEALTHCHECK tells a server from a job; ENV, ARG and COPY."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING

from gigogne.core.model import Build, Healthcheck

if TYPE_CHECKING:
    from e2b_dockerfile_utils import DockerfileInstruction

__all__ = ["ImageVariable", "copied_at", "dockerfile_healthcheck", "dockerfile_variables"]


@dataclass(frozen=True, slots=True)
class ImageVariable:
    """One name that an ENV or an ARG of a Dockerfile sets.

    Attributes:
        name: The name.
        value: Its value, with what the Dockerfile knows put in (what only the base image knows stays `$NAME`).
        line: The line it stands on, from 1.
        argument: Whether it is an ARG: known while the image is built, not when it runs.
    """

    name: str
    value: str = field(repr=False)
    line: int
    argument: bool = False


def dockerfile_healthcheck(build: Build) -> Healthcheck | None:
    """The HEALTHCHECK of the stage that is built; None where there is none, or no readable Dockerfile.

    What is wrong with a Dockerfile is the engine's to say, with all the rest of it (`Engine.check`).
    """
    text = _text(build)
    if "healthcheck" not in text.lower():
        return None
    checks = [i for i in _of_stage(_parse(text)[0], build.target) if i.name.upper() == "HEALTHCHECK"]
    return _healthcheck(checks[-1]) if checks else None


def dockerfile_variables(build: Build) -> tuple[ImageVariable, ...]:
    """The ENV and ARG of the stage that is built and of those below it, in their order: the last of a name wins."""
    text = _text(build)
    if not text:
        return ()
    instructions, escape = _parse(text)
    return tuple(_variables(_of_stage(instructions, build.target), text.splitlines(), escape, build))


def copied_at(build: Build, file: Path) -> int | None:
    """The line of the COPY or ADD that takes a file of the context into the image; None where none surely does."""
    if not file.is_relative_to(build.context):
        return None
    name = file.relative_to(build.context)
    for instruction in _of_stage(_parse(_text(build))[0], build.target):
        narrowed = any(flag.startswith(("--from=", "--exclude=")) for flag in instruction.flags)
        if instruction.name.upper() in ("COPY", "ADD") and not narrowed:
            sources = [PurePosixPath(source.lstrip("/")) for source in instruction.args[:-1]]
            if any(name.is_relative_to(source) for source in sources) and not _is_ignored(build, name):
                return instruction.start_line
    return None


def _is_ignored(build: Build, name: PurePath) -> bool:
    """Whether the ignore file, of the Dockerfile or else of the context, keeps a file out of the image."""
    from e2b_dockerfile_utils import PatternMatcher

    own = [build.dockerfile.with_name(f"{build.dockerfile.name}.dockerignore")] if build.dockerfile else []
    for file in (*own, build.context / ".dockerignore"):
        try:
            patterns = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
            return bool(PatternMatcher(patterns).matches(name.as_posix()))
        except OSError:
            continue
        except ValueError:  # a pattern that is none, which the engine names
            return True
    return False


def _text(build: Build) -> str:
    """The Dockerfile's text; empty where it cannot be read."""
    if build.dockerfile_inline is not None or build.dockerfile is None:
        return build.dockerfile_inline or ""
    try:
        return build.dockerfile.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return ""


def _parse(text: str) -> tuple[Sequence[DockerfileInstruction], str]:
    """The instructions and the escape character."""
    from e2b_dockerfile_utils import DockerfileSyntaxError, parse_dockerfile_ast

    try:
        syntax = parse_dockerfile_ast(text)
    except DockerfileSyntaxError:
        return (), "\\"
    return syntax.instructions, syntax.escape_token


def _of_stage(instructions: Sequence[DockerfileInstruction], target: str | None) -> list[DockerfileInstruction]:
    """The instructions of the target stage, behind those of the stages that it is built on."""
    stages: dict[str, list[DockerfileInstruction]] = {}
    current: list[DockerfileInstruction] = []
    number = 0
    for instruction in instructions:
        if instruction.name.upper() == "FROM":
            if target and target.lower() in stages:
                break
            base, *rest = instruction.args or [""]
            current = list(stages.get(base.lower(), ()))
            stages[str(number)] = current
            if len(rest) == 2:
                stages[rest[-1].lower()] = current
            number += 1
        elif number:
            current.append(instruction)
    return current


def _variables(
    instructions: Sequence[DockerfileInstruction], lines: Sequence[str], escape: str, build: Build
) -> Iterator[ImageVariable]:
    from e2b_dockerfile_utils import ShellLex

    known: dict[str, str] = {}
    environment: dict[str, str] = {}
    for instruction in instructions:
        lex = ShellLex(escape, env={**known, **environment})
        here = slice(instruction.start_line - 1, instruction.end_line)
        match instruction.name.upper():
            case "ENV":
                pairs = zip(instruction.args[::3], instruction.args[1::3], strict=False)
                made = {lex.process_word(name): lex.process_word(value) for name, value in pairs}
                environment |= made
            case "ARG":
                words = [word.partition("=") for word in instruction.args]
                made = {name: build.args.get(name, lex.process_word(value)) for name, _, value in words}
                known |= made
            case _:
                continue
        for name, value in made.items():
            line = _line(name, lines[here], instruction.start_line)
            yield ImageVariable(name, value, line, argument=instruction.name.upper() == "ARG")


def _line(name: str, lines: Sequence[str], first: int) -> int:
    """The line of a name in an instruction that may go over several."""
    word = re.compile(rf"(?:^|\s){re.escape(name)}(?:[=\s]|$)")
    return next((first + number for number, line in enumerate(lines) if word.search(line)), first)


def _healthcheck(instruction: DockerfileInstruction) -> Healthcheck | None:
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in instruction.flags if "=" in flag)
    try:
        return Healthcheck.of_instruction(instruction.args, flags, exec_form=instruction.json)
    except ValueError:
        return None
