"""The ways in which Gigogne runs a project: the same command line, on one engine or another."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import docker
from tests.conformance.behaviour import NEVER_RAN, Behaviour, JobObservation, Observation, lines, written
from tests.conformance.judge import shell_of, swept
from tests.conformance.probe import probing

__all__ = ["PATIENCE", "OnDocker", "OnProcess", "Seen", "Way", "seen_in"]

PATIENCE = 120.0
_REFUSED = (2, 3)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one way made of a behaviour.

    Attributes:
        observation: What came of it; None where it was refused before anything started.
        refusal: With which words.
        notes: What the run said of itself before anything started.
    """

    observation: Observation | None
    refusal: str = ""
    notes: tuple[str, ...] = ()


class Way(Protocol):
    """One of the ways."""

    @property
    def name(self) -> str:
        """Its name, as the page of the results has it."""
        ...

    def observe(self, behaviour: Behaviour) -> Seen:
        """What `gigogne run` makes of the behaviour; nothing of it is left afterwards."""
        ...


@dataclass(frozen=True, slots=True)
class OnProcess:
    """Without Docker: `sandbox` or `portable`."""

    name: str

    def observe(self, behaviour: Behaviour) -> Seen:
        """What the process engine makes of it, with data directories of its own."""
        with behaviour.settled() as folder, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as data:
            Path(data).chmod(0o755)
            shell = shell_of(behaviour, GIGOGNE_ENGINE="process", GIGOGNE_PROCESS=self.name, GIGOGNE_DATA_DIR=data)
            with probing(behaviour, folder):
                ran = _run(behaviour, folder, shell)
            return seen_in(ran, behaviour, folder)


@dataclass(frozen=True, slots=True)
class OnDocker:
    """With the Docker Engine of this machine."""

    name: str = "docker"

    def observe(self, behaviour: Behaviour) -> Seen:
        """What the docker engine makes of it."""
        with behaviour.settled() as folder, swept(docker.from_env(), behaviour.project_name):
            with probing(behaviour, folder):
                ran = _run(behaviour, folder, shell_of(behaviour, GIGOGNE_ENGINE="docker"))
            return seen_in(ran, behaviour, folder)


def _run(behaviour: Behaviour, folder: Path, shell: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gigogne", *behaviour.options, "run", "--json", *behaviour.targets],
        cwd=folder / behaviour.folder,
        env=dict(shell),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )


def seen_in(ran: subprocess.CompletedProcess[str], behaviour: Behaviour, folder: Path, hosted: str = "") -> Seen:
    """What the events of `gigogne run --json` tell, and the files that it left.

    `hosted` is the path by which the run knew the folder, where that is another one.
    """
    events = [json.loads(line) for line in ran.stdout.splitlines()]
    names = [event["event"] for event in events]
    assert {"error", "summary"} & set(names), f"gigogne run ended with {ran.returncode}: {ran.stdout}{ran.stderr}"
    began = names.index("started") if "started" in names else len(names)
    notes = tuple(event["text"] for event in events[:began] if event["event"] == "notice")
    jobs = dict(_ended(behaviour, events))
    if ran.returncode and "started" not in names and not jobs:
        errors = [event["message"] for event in events if event["event"] == "error"]
        refusal = errors[0].replace(hosted or str(folder), ".") if errors and ran.returncode in _REFUSED else ""
        return Seen(None, refusal, notes)
    return Seen(Observation(ran.returncode, jobs, written(folder)), "", notes)


def _ended(behaviour: Behaviour, events: list[dict[str, Any]]) -> Iterator[tuple[str, JobObservation]]:
    """The jobs that were started and have ended."""
    started = {event["service"] for event in events if event["event"] == "started"}
    for service in events[-1].get("services", ()):
        name, code = service["service"], service["code"]
        if name in behaviour.jobs and code is not None and (name in started or code in NEVER_RAN):
            said = [event for event in events if event["event"] == "output" and event["service"] == name]
            out, err = ([event["text"] for event in said if event["stream"] == s] for s in ("stdout", "stderr"))
            yield (
                name,
                JobObservation(code, lines("".join(f"{x}\n" for x in out)), lines("".join(f"{x}\n" for x in err))),
            )
