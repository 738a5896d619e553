"""Product listings out of a seed: listing ``i`` of a seed is always the same, on every machine.

Each listing is drawn from a random stream of its own, named by the seed and its number, so that any range can be made
without what comes before it. Only ``Random.random`` is used: it is the one method whose sequence Python promises to
keep. What listings are made of is in ``vocabulary.toml``.

The classes cannot be told apart wholly, as real ones cannot: siblings share the words of their group, some listings
speak of a sibling's things, and some say nothing that belongs to one class alone.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

from data.noise import Draw, dress, pick

__all__ = ["Generator"]

VOCABULARY = Path(__file__).with_name("vocabulary.toml")
# Of a hundred listings: in a sibling's words, without words of their own class, copied from another one, nearly so.
AMBIGUOUS, VAGUE, COPIED, NEARLY_COPIED = 0.08, 0.08, 0.02, 0.02
NO_DESCRIPTION, PLACEHOLDER, LONG = 0.335, 0.02, 0.04
SLOT = re.compile(r"\{(\w+)\}")
# Multiplied by an odd number, the numbers up to 2**32 are the same ones in another order: no two listings share one.
NUMBERS = 2**32
PRODUCT_STEP, IMAGE_STEP = 2_654_435_761, 1_640_531_527
Text = tuple[str, str, str]
Words = dict[str, tuple[str, ...]]


class Generator:
    """The listings of one seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        vocabulary = tomllib.loads(VOCABULARY.read_text(encoding="utf-8"))
        self._classes: dict[str, dict[str, Any]] = vocabulary["classes"]
        self._codes = list(self._classes)
        self._code_ladder = _ladder([each["share"] for each in self._classes.values()])
        self._languages = list(vocabulary["languages"])
        self._language_ladder = _ladder(list(vocabulary["languages"].values()))
        self._brands = _split(vocabulary["common"]["brands"])
        self._sentences = {language: _split(vocabulary["sentences"][language]) for language in self._languages}
        self._words = {
            (code, language): self._words_of(vocabulary, each, language)
            for code, each in self._classes.items()
            for language in self._languages
        }

    def listing(self, number: int) -> dict[str, str | None]:
        """Listing ``number`` (from 0): the fields of a row of the CSVs."""
        draw = self._stream("listing", number)
        copied = draw()
        original = int(draw() * number) if copied < COPIED + NEARLY_COPIED else number
        title, description, code = self._text(original)
        if original != number and copied < NEARLY_COPIED:
            title = pick((title.upper(), title.lower(), f"{title} ", f"{title} - Neuf", f"Lot {title}"), draw())
        return {
            "index": str(number),
            "designation": title,
            "description": description,
            "productid": str((number * PRODUCT_STEP + self._seed) % NUMBERS),
            "imageid": str((number * IMAGE_STEP + self._seed) % NUMBERS),
            "prdtypecode": code,
        }

    def _text(self, number: int) -> Text:
        """Title, description and category."""
        draw = self._stream("text", number)
        code = self._codes[bisect_right(self._code_ladder, draw())]
        language = self._languages[bisect_right(self._language_ladder, draw())]
        kind, sibling = draw(), draw()
        near = self._classes[code]["near"]
        topic = str(near[int(sibling * len(near))]) if kind < AMBIGUOUS else code
        words = self._words[topic, language]
        if 1 - kind < VAGUE:
            words = {**words, "own": words["group"]}
        title = self._title(words, draw)
        kind = draw()
        if kind < NO_DESCRIPTION:
            return title, "", code
        if kind < NO_DESCRIPTION + PLACEHOLDER:
            return title, pick(("nc", "-", title, "voir photo"), draw()), code
        count = 1 + int(draw() * (90 if 1 - kind < LONG else 12))
        told = [self._sentence(pick(self._sentences[language], draw()), words, draw) for _ in range(count)]
        return title, dress(told, draw), code

    def _title(self, words: Words, draw: Draw) -> str:
        """What it is, and some of what can be said of it."""
        parts = [pick(words["own"], draw())]
        for kind, share in (("group", 0.7), ("brand", 0.5), ("colour", 0.45), ("own", 0.25), ("state", 0.35)):
            if draw() < share:
                parts.append(pick(words[kind], draw()))
        if draw() < 0.3:
            parts.append(f"{int(draw() * 400)} x {int(draw() * 300)} cm")
        joined = pick((" ", " ", " - ", " / ", ", "), draw()).join(parts)
        shape = draw()
        if shape < 0.45:
            return " ".join(word[:1].upper() + word[1:] for word in joined.split(" "))
        return joined.upper() if shape < 0.52 else joined[:1].upper() + joined[1:]

    def _sentence(self, sentence: str, words: Words, draw: Draw) -> str:
        def filled(slot: re.Match[str]) -> str:
            value = draw()
            return str(int(value * 300)) if slot[1] == "number" else pick(words[slot[1]], value)

        return SLOT.sub(filled, sentence)

    def _words_of(self, vocabulary: Mapping[str, Any], each: Mapping[str, Any], language: str) -> Words:
        """What fills the slots of a class's sentences in a language."""
        common = vocabulary["common"][language]
        return {
            "own": _split(each[language]),
            "group": _split(vocabulary["groups"][each["group"]][language]),
            "brand": self._brands,
            "colour": _split(common["colours"]),
            "state": _split(common["states"]),
            "word": _split(common["words"]),
        }

    def _stream(self, kind: str, number: int) -> Draw:
        return Random(f"{self._seed}:{kind}:{number}").random  # noqa: S311 - it keeps no secret


def _split(words: str) -> tuple[str, ...]:
    return tuple(" ".join(word.split()) for word in words.split(";") if word.strip())


def _ladder(weights: Sequence[float]) -> list[float]:
    """Running shares that end at exactly 1, so that a draw below 1 always finds its step."""
    steps = list(accumulate(weights))
    return [step / steps[-1] for step in steps[:-1]] + [1.0]
