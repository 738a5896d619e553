"""What an examination of this machine finds: data that the doctor prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Finding", "Probe"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried on this machine.

    Attributes:
        name: What was tried.
        state: `ok`; `missing` where no run can work without it; `note` where something is done in another way.
        found: What was seen.
        fix: What to type to have it; empty where nothing is to be done.
    """

    name: str
    state: Literal["ok", "missing", "note"]
    found: str
    fix: str = ""


Probe: TypeAlias = Callable[[], list[Finding]]
"""Tries something for real. It ends by itself, and leaves nothing behind."""
