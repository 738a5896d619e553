"""What became of a run and of each of its services."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gigogne.core.model import Kind

__all__ = ["Outcome", "Result", "Verdict"]


class Verdict(StrEnum):
    """How it went for one service."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "not run"
    STOPPED = "stopped"
    SERVED = "served"


@dataclass(slots=True)
class Outcome:
    """What became of one step.

    `seconds` from start to end; `last_line` and `last_error` are the last that it wrote on stdout and on stderr.
    """

    service: str
    kind: Kind
    verdict: Verdict = Verdict.SKIPPED
    code: int | None = None
    seconds: float = 0.0
    last_line: str = ""
    last_error: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a run; `code` is the exit code of the first job that failed."""

    run: str
    code: int
    outcomes: tuple[Outcome, ...]
    seconds: float
