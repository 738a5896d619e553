"""A shift of the world from a day on, as `DRIFT` asks for it: `amounts:1.5@2025-02-01,night:3@2025-02-01`."""

from __future__ import annotations

import difflib
import hashlib
import re
from dataclasses import dataclass, field
from datetime import date

from fraud.places import CATEGORIES
from job.errors import SettingError

__all__ = ["Drift", "Factors"]

SHIFT = re.compile(r"([a-z_]+):([0-9]+(?:\.[0-9]+)?)@([0-9]{4}-[0-9]{2}-[0-9]{2})")
# More than that many times as many frauds would leave no place for the holders' own purchases.
LARGEST = 100.0
PATTERNS = ("testing", "stolen", "takeover", "stealthy")
KINDS = ("amounts", "night", "merchants", "frauds", *PATTERNS, *CATEGORIES)


@dataclass(frozen=True, slots=True)
class Factors:
    """How many times as large, or as often, things are on a day: 1 for what is not named."""

    of: tuple[tuple[str, float], ...] = ()

    def __getitem__(self, kind: str) -> float:
        return next((factor for name, factor in self.of if name == kind), 1.0)


@dataclass(frozen=True)
class Drift:
    """What shifts, by how much, and since when. Days before a shift are to the letter those of a world without it."""

    shifts: tuple[tuple[str, float, date], ...] = field(default=())

    @classmethod
    def parse(cls, text: str) -> Drift:
        """Read `KIND:FACTOR@DAY`, separated by commas.

        Raises:
            SettingError: It is not written so, or there is no such kind or day.
        """
        return cls(tuple(_shift(part.strip()) for part in text.split(",") if part.strip()))

    @property
    def name(self) -> str:
        """Something short to tell it by, for names of files; empty where nothing drifts."""
        told = ",".join(f"{kind}:{factor}@{day}" for kind, factor, day in self.shifts)
        return told and f"drift-{hashlib.sha256(told.encode()).hexdigest()[:8]}"

    def on(self, day: date) -> Factors:
        """The factors of a day; several shifts of one kind are multiplied."""
        factors: dict[str, float] = {}
        for kind, factor, since in self.shifts:
            if day >= since:
                factors[kind] = factors.get(kind, 1.0) * factor
        return Factors(tuple(sorted(factors.items())))


def _shift(part: str) -> tuple[str, float, date]:
    match = SHIFT.fullmatch(part)
    if not match:
        raise SettingError(f"DRIFT: {part!r} is not KIND:FACTOR@DAY, as in amounts:1.5@2025-02-01")
    kind, factor = match[1], float(match[2])
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(KINDS)}"
        raise SettingError(f"DRIFT: there is no kind {kind!r}: {hint}")
    if not factor <= LARGEST:
        raise SettingError(f"DRIFT: {part!r}: a factor is at most {LARGEST:.0f}")
    try:
        return kind, factor, date.fromisoformat(match[3])
    except ValueError as error:
        raise SettingError(f"DRIFT: {part!r}: {error}; a day is written 2025-02-01") from None
