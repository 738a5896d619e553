"""What a model sees of a text: words, and the characters inside words. The standard library alone.

Training and prediction call the same functions, so that a served model cannot see other terms than it learned.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

__all__ = ["BLOCKS", "Block"]

WORD = re.compile(r"\w\w+")
Kind = Literal["words", "characters"]


@dataclass(frozen=True)
class Block:
    """A part of the features: n-grams of one field, of a length of one by themselves, weighted against the others."""

    field: Literal["designation", "description"]
    kind: Kind
    shortest: int
    longest: int
    weight: float
    # How much of a text is read. The first lines of a description say what a product is; what comes after costs time.
    reads: int = 500

    @property
    def name(self) -> str:
        """``designation_words``."""
        return f"{self.field}_{self.kind}"

    def of(self, listing: tuple[str, str]) -> str:
        """The field of a (designation, description) that this block reads."""
        return listing[self.field == "description"][: self.reads]

    def terms(self, text: str) -> list[str]:
        """The n-grams of a text, as often as they occur."""
        grams = _word_grams if self.kind == "words" else _character_grams
        return list(grams(text, self.shortest, self.longest))

    def units(self, text: str) -> list[str]:
        """Parts of a text that have its terms between them: its words, where no term goes across them.

        The same words come again and again, so who remembers their terms is soon done with a text.
        """
        if self.kind == "characters":
            return text.split()
        return WORD.findall(text) if self.longest == 1 else [text]


def _word_grams(text: str, shortest: int, longest: int) -> Iterator[str]:
    """Runs of words of two characters or more, with a space between."""
    words = WORD.findall(text)
    for length in range(shortest, longest + 1):
        for first in range(len(words) - length + 1):
            yield " ".join(words[first : first + length])


def _character_grams(text: str, shortest: int, longest: int) -> Iterator[str]:
    """Runs of characters inside words, the space on either side included: what scikit-learn calls char_wb."""
    for word in text.split():
        padded = f" {word} "
        for length in range(shortest, min(longest, len(padded)) + 1):
            for first in range(len(padded) - length + 1):
                yield padded[first : first + length]


BLOCKS = (
    Block("designation", "words", 1, 1, 0.7),
    Block("designation", "characters", 2, 5, 1.0),
    Block("description", "words", 1, 1, 0.5),
    Block("description", "characters", 2, 5, 0.7),
)
"""What a model is trained on: docs/explanation/catalog-model.md has what else was tried."""
