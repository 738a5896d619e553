"""What a look at both samples came to: the JSON that is between the drift job and monitor."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Self, TypeVar

from catalog.names import MODEL
from job.errors import JobError
from job.storage import MissingObjectError, Storage

__all__ = ["Latest", "Part", "Verdict", "look_to_json", "read_latest"]

FORMAT = 1
Found = TypeVar("Found")


@dataclass(frozen=True)
class Part:
    """What one comparison says.

    Attributes:
        score: How much the samples differ.
        threshold: What the score must pass to count.
        p_value: How often chance alone gives such a score, or a higher one.
    """

    score: float
    threshold: float
    p_value: float

    @property
    def detected(self) -> bool:
        """Whether it is drift."""
        return self.score > self.threshold


@dataclass(frozen=True)
class Verdict:
    """One look.

    Attributes:
        at: When it was.
        version: The version of the model that both samples belong to.
        rows: How many different listings, or cards, each sample has.
        parts: What each comparison says.
        report: The address of its report.
    """

    at: datetime
    version: int
    rows: Mapping[str, int]
    parts: Mapping[str, Part]
    report: str

    def line(self) -> str:
        """What it says, in one line."""
        said = (
            f"{name} {'DRIFT' if part.detected else 'no drift'} ({part.score:.3f}, threshold {part.threshold:.3f})"
            for name, part in self.parts.items()
        )
        compared = f"{self.rows['current']:,} listings against {self.rows['reference']:,} of version {self.version}"
        return f"{compared} | {' | '.join(said)} → {self.report}"

    def to_json(self) -> bytes:
        """The verdict as a JSON document."""
        parts = {
            name: {
                "score": round(part.score, 6),
                "threshold": round(part.threshold, 6),
                "p_value": float(f"{part.p_value:.3g}"),
                "detected": part.detected,
            }
            for name, part in self.parts.items()
        }
        document = {
            "format": FORMAT,
            "at": self.at.isoformat(timespec="seconds"),
            "model": {"name": MODEL, "version": self.version},
            "rows": dict(self.rows),
            "parts": parts,
            "report": self.report,
        }
        return json.dumps(document, indent=2).encode()

    @classmethod
    def from_json(cls, body: bytes, model: str = MODEL) -> Self:
        """The verdict about a model that a document holds.

        Raises:
            ValueError: It holds none, or one about another model.
        """
        try:
            said: Any = json.loads(body)
            if said["format"] != FORMAT:
                raise ValueError("another format")
            if said["model"]["name"] != model:
                raise ValueError(f"it is about {said['model']['name']}, not about {model}")
            parts = {
                str(name): Part(float(part["score"]), float(part["threshold"]), float(part["p_value"]))
                for name, part in said["parts"].items()
            }
            rows = {str(sample): int(count) for sample, count in said["rows"].items()}
            at = datetime.fromisoformat(said["at"])
            return cls(at, int(said["model"]["version"]), rows, parts, str(said["report"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no verdict: {error!r}") from None


@dataclass(frozen=True)
class Latest:
    """What the drift job has left.

    Attributes:
        verdict: The newest; None where there is none yet.
        looked: When it looked last, with or without a verdict; None for never.
    """

    verdict: Verdict | None
    looked: datetime | None


def look_to_json(at: datetime) -> bytes:
    """The JSON document that says when somebody looked."""
    return json.dumps({"format": FORMAT, "at": at.isoformat(timespec="seconds")}).encode()


def read_latest(storage: Storage, verdict: str, look: str, model: str) -> Latest:
    """The verdict about a model, and the time of the last look, at these addresses.

    Raises:
        JobError: S3 does not answer, or what is there is something else.
    """
    return Latest(
        _read(storage, verdict, partial(Verdict.from_json, model=model)), _read(storage, look, _look_from_json)
    )


def _look_from_json(body: bytes) -> datetime:
    try:
        return datetime.fromisoformat(json.loads(body)["at"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"no look: {error!r}") from None


def _read(storage: Storage, address: str, parse: Callable[[bytes], Found]) -> Found | None:
    """What an object says; None where there is none."""
    try:
        return parse(storage.get(address))
    except MissingObjectError:
        return None
    except ValueError:
        raise JobError(f"{address} is no verdict of the drift job: run that job again") from None
