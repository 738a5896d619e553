"""What a look at the transactions came to: for monitor what it hears of every project, and more for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from drift.verdict import Part, Verdict

__all__ = ["TransactionVerdict"]


@dataclass(frozen=True)
class TransactionVerdict(Verdict):
    """One look at the transactions of cards.

    Attributes:
        until: The newest transaction that was looked at, by the data's own clock.
        moved: What is said of each feature, those that moved most for their kind first.
    """

    until: datetime
    moved: Mapping[str, Part]

    def remarks(self) -> tuple[str, ...]:
        """The features that have moved too far."""
        named = [name for name, part in self.moved.items() if part.detected]
        return (f"moved: {', '.join(named)}",) if named else ()

    def document(self) -> dict[str, Any]:
        """It as plain JSON types."""
        more = {
            "until": self.until.isoformat(timespec="seconds"),
            "moved": {name: part.document() for name, part in self.moved.items()},
        }
        return {**super().document(), **more}
