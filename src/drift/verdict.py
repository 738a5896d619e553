"""What a look at two samples came to, as the JSON document that is between a drift job and monitor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = ["FORMAT", "Part", "Verdict"]

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

    @property
    def times(self) -> float:
        """The score as a multiple of the threshold."""
        return self.score / self.threshold

    def document(self) -> dict[str, float | bool]:
        """It as plain JSON types."""
        return {
            "score": round(self.score, 6),
            "threshold": round(self.threshold, 6),
            "p_value": float(f"{self.p_value:.3g}"),
            "detected": self.detected,
        }


@dataclass(frozen=True)
class Verdict:
    """One look.

    Attributes:
        at: When it was.
        model: The name of the model.
        version: Its version, which both samples belong to.
        rows: How many rows each sample has: listings, or cards.
        parts: What each comparison says.
        report: The address of its report.
    """

    at: datetime
    model: str
    version: int
    rows: Mapping[str, int]
    parts: Mapping[str, Part]
    report: str

    def line(self, what: str) -> str:
        """All of it in one line; its rows are so many of `what`."""
        said = (
            f"{name} {'DRIFT' if part.detected else 'no drift'} ({part.score:.3f}, threshold {part.threshold:.3f})"
            for name, part in self.parts.items()
        )
        compared = f"{self.rows['current']:,} {what} against {self.rows['reference']:,} of version {self.version}"
        return " | ".join((compared, *said, *self.remarks())) + f" → {self.report}"

    def remarks(self) -> tuple[str, ...]:
        """What its line says besides."""
        return ()

    def document(self) -> dict[str, Any]:
        """It as plain JSON types."""
        return {
            "format": FORMAT,
            "at": self.at.isoformat(timespec="seconds"),
            "model": {"name": self.model, "version": self.version},
            "rows": dict(self.rows),
            "parts": {name: part.document() for name, part in self.parts.items()},
            "report": self.report,
        }

    def to_json(self) -> bytes:
        """It as a JSON document."""
        return json.dumps(self.document(), indent=2).encode()

    @staticmethod
    def from_json(body: bytes, model: str) -> Verdict:
        """The verdict about a model that a document holds; what else it says is left out.

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
            return Verdict(at, model, int(said["model"]["version"]), rows, parts, str(said["report"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no verdict: {error!r}") from None
