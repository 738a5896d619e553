"""The known word that somebody meant who wrote one that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(word: str, known: Iterable[str], *, quote: str = "", cutoff: float = 0.6) -> str:
    """The hint that names the nearest known word; empty where none is near.

    Args:
        word: What was written.
        known: The words to choose from.
        quote: What stands on both sides of the word in the hint: a backtick for a key.
        cutoff: How alike the two must be, from 0 (anything is) to 1 (only the word itself is).
    """
    near = difflib.get_close_matches(word, known, 1, cutoff)
    return f"did you mean {quote}{near[0]}{quote}?" if near else ""
