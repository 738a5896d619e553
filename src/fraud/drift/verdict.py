"""What a look at both samples came to: the JSON by which monitor hears of it.

docker/monitoring/monitor/README.md says what the document holds: it is all that is between the two components.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fraud.drift.comparison import Part
from fraud.names import MODEL

__all__ = ["Verdict", "look_to_json"]

FORMAT = 1


@dataclass(frozen=True)
class Verdict:
    """One look.

    Attributes:
        at: When it was.
        version: The version of the model that the reference belongs to.
        until: The newest transaction that was looked at, by the data's own clock.
        rows: How many cards each sample has.
        parts: What each comparison says.
        moved: What is said of each feature, those that moved most for their kind first.
        report: The address of its report.
    """

    at: datetime
    version: int
    until: datetime
    rows: Mapping[str, int]
    parts: Mapping[str, Part]
    moved: Mapping[str, Part]
    report: str

    def too_far(self) -> list[str]:
        """The features that have moved too far."""
        return [name for name, part in self.moved.items() if part.detected]

    def line(self) -> str:
        """What it says, in one line."""
        said = (
            f"{name} {'DRIFT' if part.detected else 'no drift'} ({part.score:.3f}, threshold {part.threshold:.3f})"
            for name, part in self.parts.items()
        )
        cards = f"{self.rows['current']:,} cards until {self.until} against {self.rows['reference']:,}"
        named = f" | moved: {', '.join(self.too_far())}" if self.too_far() else ""
        return f"{cards} of version {self.version} | {' | '.join(said)}{named} → {self.report}"

    def to_json(self) -> bytes:
        """The verdict as a JSON document."""
        document = {
            "format": FORMAT,
            "at": self.at.isoformat(timespec="seconds"),
            "model": {"name": MODEL, "version": self.version},
            "until": self.until.isoformat(timespec="seconds"),
            "rows": dict(self.rows),
            "parts": {name: _document(part) for name, part in self.parts.items()},
            "moved": {name: _document(part) for name, part in self.moved.items()},
            "report": self.report,
        }
        return json.dumps(document, indent=2).encode()


def _document(part: Part) -> dict[str, float | bool]:
    return {
        "score": round(part.score, 6),
        "threshold": round(part.threshold, 6),
        "p_value": float(f"{part.p_value:.3g}"),
        "detected": part.detected,
    }


def look_to_json(at: datetime) -> bytes:
    """The JSON document that says when somebody looked."""
    return json.dumps({"format": FORMAT, "at": at.isoformat(timespec="seconds")}).encode()
