"""What a look at both samples came to: the JSON that is between the drift job and monitor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from catalog.names import MODEL
from monitoring.job import JobError
from monitoring.storage import MissingObjectError, Storage

__all__ = ["Latest", "Part", "Verdict", "read_latest"]

FORMAT = 1


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
        rows: How many different listings each sample has.
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
    def from_json(cls, body: bytes) -> Self:
        """The verdict that a document holds.

        Raises:
            ValueError: It holds none.
        """
        try:
            said: Any = json.loads(body)
            if said["format"] != FORMAT:
                raise ValueError("another format")
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
    """The newest verdict; None where there is none yet."""

    verdict: Verdict | None


def read_latest(storage: Storage, address: str) -> Latest:
    """The verdict at an address.

    Raises:
        JobError: S3 does not answer, or what is there is no verdict.
    """
    try:
        return Latest(Verdict.from_json(storage.get(address)))
    except MissingObjectError:
        return Latest(None)
    except ValueError:
        raise JobError(f"{address} is no verdict of the drift job: run drift again") from None
