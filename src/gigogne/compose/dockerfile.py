"""The one thing of a Dockerfile that planning needs: its HEALTHCHECK, which tells a server from a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gigogne.core.model import Build, Healthcheck

if TYPE_CHECKING:
    from e2b_dockerfile_utils import DockerfileInstruction

__all__ = ["dockerfile_healthcheck"]


def dockerfile_healthcheck(build: Build) -> Healthcheck | None:
    """The HEALTHCHECK of the stage that is built; None where there is none, or no readable Dockerfile.

    What is wrong with a Dockerfile is the engine's to say, with all the rest of it (`Engine.check`).
    """
    text = build.dockerfile_inline
    if text is None and build.dockerfile is not None:
        try:
            text = build.dockerfile.read_text(encoding="utf-8-sig", errors="replace")
        except OSError:
            return None
    if not text or "healthcheck" not in text.lower():
        return None
    from e2b_dockerfile_utils import DockerfileSyntaxError, parse_dockerfile_ast

    try:
        instructions = parse_dockerfile_ast(text).instructions
    except DockerfileSyntaxError:
        return None
    return _of_stage(instructions, build.target)


def _of_stage(instructions: list[DockerfileInstruction], target: str | None) -> Healthcheck | None:
    """The check of the target stage, inherited from the stages that it is built on."""
    checks: dict[str, Healthcheck | None] = {}
    stage, current = "", None
    for instruction in instructions:
        name = instruction.name.upper()
        if name == "FROM":
            if target and stage == target.lower():
                break
            base, *rest = instruction.args
            stage = rest[-1].lower() if len(rest) == 2 else str(len(checks))
            current = checks.get(base.lower())
        elif name == "HEALTHCHECK":
            current = _healthcheck(instruction)
        checks[stage] = current
    return current


def _healthcheck(instruction: DockerfileInstruction) -> Healthcheck | None:
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in instruction.flags if "=" in flag)
    try:
        return Healthcheck.of_instruction(instruction.args, flags, exec_form=instruction.json)
    except ValueError:
        return None
