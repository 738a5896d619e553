"""A behaviour of Compose, as a small project that shows it; and what is observed of it."""

from __future__ import annotations

import hashlib
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["IMAGE", "NEVER_RAN", "OUT", "Behaviour", "JobObservation", "Observation", "job", "lines", "written"]

IMAGE = "python:3.12-slim"
OUT = "out"
"""The directory of each project in which it leaves files; anybody may write there."""

NEVER_RAN = (126, 127)
"""Codes of a job that could not be started at all, as in a shell: not executable, not there."""

# Longer texts are recorded as their digest.
_LONGEST = 4000


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One thing that Compose does with a project.

    Attributes:
        name: Short, unique, safe in a path.
        story: What Compose does, in a sentence for the page of the results.
        compose: The text of `compose.yaml`; empty where `files` has the Compose files.
        files: Path in the project → text.
        executable: Those of the files that can be executed.
        options: What is typed between the program and `up` or `run`.
        targets: The services that are named behind it.
        environment: Variables of the shell.
        folder: The folder of the project in which the command is typed.
        project: The project's name, where it is not that of its folder.
        jobs: The services of which code and lines are observed.
        probe: A published port that is asked from outside meanwhile; the answer lands in `out/answer`.
        told: Way → words of the note with which it says, before anything starts, that it does not do this.
    """

    name: str
    story: str
    compose: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    executable: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str = "."
    project: str = ""
    jobs: tuple[str, ...] = ("job",)
    probe: int | None = None
    told: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    @property
    def project_name(self) -> str:
        """The name that Compose gives to the project."""
        return self.project or f"conformance-{self.name}"

    @contextmanager
    def settled(self, above: Path | None = None) -> Iterator[Path]:
        """The project in a folder of its own, under `above` or where temporary files are; gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="conformance-", dir=above, ignore_cleanup_errors=True) as around:
            folder = Path(around) / f"conformance-{self.name}"
            compose = {"compose.yaml": self.compose} if self.compose else {}
            for name, text in {**compose, **self.files}.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(textwrap.dedent(text).encode())
                path.chmod(0o755 if name in self.executable else 0o644)
            out = folder / OUT
            out.mkdir(exist_ok=True)
            out.chmod(0o777)
            yield folder


@dataclass(frozen=True, slots=True)
class JobObservation:
    """How a job ended, and what it said."""

    code: int
    stdout: tuple[str, ...] = ()
    stderr: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Observation:
    """What came of a behaviour.

    Attributes:
        code: The exit code of the first job that failed; None where nothing could be started.
        jobs: The jobs that ended; one that was not started is not here.
        files: What lies in `out/`: relative name → text.
    """

    code: int | None
    jobs: Mapping[str, JobObservation] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The observation as plain JSON types."""
        return asdict(self)

    @classmethod
    def of_dict(cls, facts: Mapping[str, Any]) -> Observation:
        """The observation that `as_dict` wrote, after JSON made lists of its tuples."""
        jobs = {
            name: JobObservation(job["code"], tuple(job["stdout"]), tuple(job["stderr"]))
            for name, job in facts["jobs"].items()
        }
        return cls(facts["code"], jobs, facts["files"])


def job(keys: str) -> str:
    """A Compose file with one service, `job`, on Python's image, with these keys."""
    return f"services:\n  job:\n    image: {IMAGE}\n{textwrap.indent(textwrap.dedent(keys).strip(), '    ')}\n"


def lines(text: str) -> tuple[str, ...]:
    """The lines of what a job wrote, without their ends; in place of very much, its size and digest."""
    if len(text) > _LONGEST:
        return (_digest(text),)
    return tuple(line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")) if text else ()


def written(folder: Path) -> dict[str, str]:
    """What the project left in `out/`."""
    out = folder / OUT
    found = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        text = path.read_bytes().decode(errors="backslashreplace")
        found[path.relative_to(out).as_posix()] = _digest(text) if len(text) > _LONGEST else text
    return found


def _digest(text: str) -> str:
    return f"{text.count(chr(10))} lines, sha256 {hashlib.sha256(text.encode()).hexdigest()}"
