"""Docker Compose at the user's terminal, running the host container: what is typed, the signals and the exit code."""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gigogne.engines.docker.compose import as_input
from gigogne.engines.docker.host.container import SERVICE

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["attend", "run_host"]

# What the shell says to Compose of the user's project, and not of this one.
_OF_THE_USER = (
    *("COMPOSE_ENV_FILES", "COMPOSE_FILE", "COMPOSE_PATH_SEPARATOR", "COMPOSE_PROFILES", "COMPOSE_PROGRESS"),
    *("COMPOSE_PROJECT_NAME", "COMPOSE_REMOVE_ORPHANS"),
)


def run_host(model: Mapping[str, Any], client: DockerClient, compose: Path, command: Sequence[str]) -> int:
    """Run the host container to its end, and return the exit code of its command. Nothing of it is left.

    Standard input is the user's, so the model goes by a file. It holds names of variables: Compose takes the values
    from its own environment, and gives them to the daemon by the API.
    """
    from docker.errors import DockerException
    from requests import RequestException

    terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    name = f"{model['name']}-{secrets.token_hex(3)}"

    def deliver(number: int) -> bool:
        try:
            client.api.kill(name, number)
        except (DockerException, RequestException):  # it does not run yet, or no longer; or the daemon is gone
            return False
        return True

    with tempfile.TemporaryDirectory(prefix="gigogne-nest-") as folder:
        file = Path(folder) / "docker-compose.json"
        file.write_text(as_input(model), encoding="utf-8")
        words = [str(compose), "--progress", "quiet", "-f", str(file), "-p", model["name"]]
        words += ["run", "--rm", "--name", name, *([] if terminal else ["-T"]), SERVICE, *command]
        environment = {key: value for key, value in os.environ.items() if key not in _OF_THE_USER}
        try:
            return attend(words, {**environment, "COMPOSE_IGNORE_ORPHANS": "1"}, deliver, terminal=terminal)
        finally:
            # Compose has removed it, but for one that it was about to start.
            with contextlib.suppress(DockerException, RequestException):
                client.api.remove_container(name, v=True, force=True)


def attend(
    words: Sequence[str], environment: Mapping[str, str], deliver: Callable[[int], bool], *, terminal: bool
) -> int:
    """Run a program to its end, and return its exit code.

    Args:
        words: The program and its arguments.
        environment: Its variables.
        deliver: Is given each signal that would end us; where it does not want one, the program gets it. (Compose
            itself would pass each on twice, and the second Ctrl-C of many programs means: at once.)
        terminal: It reads from the terminal; then it has to stay in the group that the terminal listens to.
    """
    signals: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK") if hasattr(signal, name)]
    before = {name: signal.signal(signal.Signals[name], lambda number, _: signals.put(number)) for name in names}
    try:
        with subprocess.Popen(words, env=environment, **({} if terminal else _apart())) as process:

            def pass_on() -> None:
                for number in iter(signals.get, None):
                    if not deliver(number):
                        with contextlib.suppress(OSError, ValueError):
                            process.send_signal(number)

            messenger = threading.Thread(target=pass_on, name="signals", daemon=True)
            messenger.start()
            code = process.wait()
            signals.put(None)
            messenger.join()
        return code if code >= 0 else 128 - code
    finally:
        for name, handler in before.items():
            signal.signal(signal.Signals[name], handler)


def _apart() -> dict[str, Any]:
    """A terminal's Ctrl-C goes to every process of its group: we alone are to act on it."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"process_group": 0}
