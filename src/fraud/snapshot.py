"""What an extract holds: its two objects, and how far the data went, as the JSON beside them says it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

__all__ = ["Extracted", "Snapshot"]


@dataclass(frozen=True)
class Extracted:
    """An object beside the JSON: its name, its rows without the header, its bytes and their digest."""

    object: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Snapshot:
    """One moment of the database in two objects: the confirmed transactions, and all of them."""

    validated: Extracted
    history: Extracted
    newest_transaction: datetime | None
    newest_confirmation: datetime | None
    until: datetime | None
    extracted_at: datetime
    rows_added: int

    def same_data(self, other: Snapshot) -> bool:
        """Whether both hold the same bytes."""
        return (self.validated, self.history) == (other.validated, other.history)

    def to_json(self) -> bytes:
        """The JSON; ``extracted_at`` alone has a time zone, since data has none."""
        return json.dumps(asdict(self), default=_time).encode("ascii") + b"\n"

    @classmethod
    def read(cls, text: bytes | None) -> Snapshot | None:
        """The snapshot that a JSON describes; None where there is none, or one that nobody understands."""
        try:
            given: dict[str, Any] = json.loads(text or b"")
            for name in ("validated", "history"):
                given[name] = Extracted(**given[name])
            for name in ("newest_transaction", "newest_confirmation", "until", "extracted_at"):
                given[name] = given[name] and datetime.fromisoformat(given[name])
            return cls(**given)
        except (ValueError, KeyError, TypeError):
            return None


def _time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z") if moment.tzinfo is UTC else moment.isoformat()
