"""Which engine: the one that was asked for, or the one that this machine allows. Both composition roots choose here."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from gigogne.compose.binary import compose_binary
from gigogne.core.engine import Engine
from gigogne.errors import EngineError, GigogneError

__all__ = ["ENGINES", "asked_engine", "choose_engine", "every_engine"]

ENGINES = ("auto", "process", "docker")

_SOCKET = Path("//./pipe/docker_engine" if sys.platform == "win32" else "/var/run/docker.sock")


def asked_engine(option: str) -> str:
    """What `--engine` says, else `GIGOGNE_ENGINE`, else auto.

    Raises:
        EngineError: `GIGOGNE_ENGINE` names none.
    """
    asked = option or os.environ.get("GIGOGNE_ENGINE") or "auto"
    if asked not in (*ENGINES, "all"):
        raise EngineError(f"GIGOGNE_ENGINE is {asked!r}", f"write one of {', '.join(ENGINES)}, or unset it")
    return asked


def choose_engine(
    asked: str, notify: Callable[[str, str], None], *, build: bool = False, keep: bool = False, fallback: bool = True
) -> tuple[Engine, str]:
    """The engine, and what the user should know of the choice; auto is docker where a daemon answers, else process.

    Without `fallback`, a daemon that there should be has to answer: who looks for what an earlier process has left
    would look in the wrong place.

    Raises:
        EngineError: The engine that was asked for is not to be had.
    """
    if asked == "docker":
        return _docker(notify, build=build, keep=keep), ""
    remark = ""
    if asked == "auto" and _names_a_daemon():
        try:
            return _docker(notify, build=build, keep=keep), ""
        except EngineError as error:
            if not fallback:
                raise
            remark = f"no Docker: {error.message}; --engine process keeps quiet about it"
    from gigogne.engines.process.engine import ProcessEngine

    return ProcessEngine.of_this_machine(notify), remark


def every_engine(notify: Callable[[str, str], None]) -> list[Engine]:
    """All engines, in all the ways that this machine allows."""
    from gigogne.engines.process.engine import ProcessEngine

    engines: list[Engine] = list(ProcessEngine.every_way(notify))
    if _names_a_daemon():
        with contextlib.suppress(GigogneError):  # `doctor` tells why
            engines.append(_docker(notify))
    return engines


def _docker(notify: Callable[[str, str], None], *, build: bool = False, keep: bool = False) -> Engine:
    from gigogne.engines.docker.connection import connect
    from gigogne.engines.docker.engine import DockerEngine
    from gigogne.engines.docker.place import find_place

    client = connect()
    return DockerEngine(client, find_place(client, Path.cwd()), compose_binary(), notify, build=build, keep=keep)


def _names_a_daemon() -> bool:
    """Whether anything says that there may be one, seen without the SDK, which takes its time to import."""
    if os.environ.get("DOCKER_HOST") or os.environ.get("DOCKER_CONTEXT") or _SOCKET.exists():
        return True
    settings = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        return bool(json.loads(settings.read_text(encoding="utf-8")).get("currentContext", "default") != "default")
    except (OSError, ValueError, AttributeError):
        return False
