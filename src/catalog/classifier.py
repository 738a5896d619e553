"""The classifier as it is served: arrays, a vocabulary, and what reads them. It needs numpy and nothing else.

A folder holds it: `model.json` says what it is and how its two other files hash, `vocabulary.json` has the terms,
`weights.npz` the numbers. Nothing in it is code, so a file from strangers can be wrong but cannot run.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache, partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from catalog.features import Block

__all__ = ["FILES", "Classifier", "ModelError"]

FORMAT = 1
FILES = ABOUT, VOCABULARY, WEIGHTS = "model.json", "vocabulary.json", "weights.npz"
Floats = npt.NDArray[np.float32]
# Of so many words the terms are remembered, for each of the four blocks: some 10 MB in all.
UNITS = 8_192


class ModelError(Exception):
    """A folder holds no classifier, or not the one that was saved."""


@dataclass(frozen=True)
class Terms:
    """What is known of the terms of one block: where each is, how rare it is, and what it says for each class."""

    block: Block
    position: dict[str, int]
    rarity: Floats
    weights: Floats

    def positions(self, unit: str, first: int) -> bytes:
        """Where the known terms of a part of a text are, counted from the position of the block's first one: int32s.

        As bytes, since those of a text are joined: of arrays, NumPy takes longer to join hundreds than to do the rest.
        """
        known = map(self.position.get, self.block.terms(unit))
        return np.array([first + each for each in known if each is not None], np.int32).tobytes()


@dataclass(frozen=True)
class Classifier:
    """A linear model over TF-IDF of words and characters, with probabilities by one temperature."""

    labels: npt.NDArray[np.int64]
    intercept: Floats
    temperature: float
    terms: tuple[Terms, ...]

    def scores(self, texts: Sequence[tuple[str, str]]) -> npt.NDArray[np.float64]:
        """What the linear model says of each (designation, description): a row of a score a label."""
        scores = np.tile(self.intercept.astype(np.float64), (len(texts), 1))
        if self.terms:  # else it has learned how frequent its labels are, and no word
            for row, listing in zip(scores, texts, strict=True):
                row += self._joined.score(listing)
        return scores

    @cached_property
    def _joined(self) -> _Joined:
        return _Joined(self.terms)

    def predict_proba(self, texts: Sequence[tuple[str, str]]) -> npt.NDArray[np.float64]:
        """The probability of each label for each (designation, description), which were cleaned."""
        scores = self.scores(texts) * self.temperature
        scores -= scores.max(axis=1, keepdims=True)
        raised = np.exp(scores)
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))

    def save(self, folder: Path) -> None:
        """Write the three files into an empty folder."""
        arrays: dict[str, Any] = {"labels": self.labels, "intercept": self.intercept}
        for terms in self.terms:
            arrays[f"{terms.block.name}.rarity"] = terms.rarity
            arrays[f"{terms.block.name}.weights"] = terms.weights
        written = io.BytesIO()
        np.savez_compressed(written, allow_pickle=False, **arrays)
        lists = {terms.block.name: list(terms.position) for terms in self.terms}
        files = {VOCABULARY: json.dumps(lists, ensure_ascii=False).encode(), WEIGHTS: written.getvalue()}
        about = {
            "format": FORMAT,
            "temperature": self.temperature,
            "blocks": [asdict(terms.block) for terms in self.terms],
            "files": {name: hashlib.sha256(body).hexdigest() for name, body in files.items()},
        }
        for name, body in {**files, ABOUT: json.dumps(about, indent=2).encode()}.items():
            (folder / name).write_bytes(body)

    @classmethod
    def load(cls, folder: Path) -> Classifier:
        """The classifier that a folder holds.

        Raises:
            ModelError: It holds none, or files that changed since it was saved.
        """
        try:
            about = json.loads((folder / ABOUT).read_bytes())
            if about["format"] != FORMAT:
                raise ModelError(f"{ABOUT} has format {about['format']}, and this program reads {FORMAT}")
            vocabulary = json.loads(_read(folder, VOCABULARY, about))
            with np.load(io.BytesIO(_read(folder, WEIGHTS, about)), allow_pickle=False) as arrays:
                terms = tuple(_terms(Block(**each), vocabulary, arrays) for each in about["blocks"])
                return cls(arrays["labels"], arrays["intercept"], float(about["temperature"]), terms)
        except OSError as error:
            raise ModelError(f"{error.filename} cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise ModelError(f"{ABOUT} describes no classifier: {error!r}") from None

    def predict(self, texts: Sequence[tuple[str, str]]) -> npt.NDArray[np.int64]:
        """The likeliest label of each; of equally likely ones the smallest."""
        return np.asarray(self.labels[self.scores(texts).argmax(axis=1)])


class _Joined:
    """The terms of all blocks in one table, so that a text costs one look-up; what words were made of is remembered."""

    def __init__(self, terms: Sequence[Terms]) -> None:
        firsts = list(accumulate((len(each.rarity) for each in terms), initial=0))
        self._ends = firsts[1:-1]
        self._rarity = np.concatenate([each.rarity for each in terms])
        self._weights = np.concatenate([each.weights for each in terms]).astype(np.float32)
        self._blocks = [
            (each.block, lru_cache(maxsize=UNITS)(partial(each.positions, first=first)))
            for each, first in zip(terms, firsts, strict=False)
        ]

    def score(self, listing: tuple[str, str]) -> Floats:
        """What the terms of a listing say for each class."""
        found = b"".join([of(unit) for block, of in self._blocks for unit in block.units(block.of(listing))])
        every = np.sort(np.frombuffer(found, np.int32))
        first = np.flatnonzero(np.diff(every, prepend=-1))
        where, count = every[first], np.diff(first, append=len(every))
        value = (1 + np.log(count, dtype=np.float32)) * self._rarity[where]
        edges = [0, *np.searchsorted(where, self._ends).tolist(), len(where)]
        for (block, _), begin, end in zip(self._blocks, edges, edges[1:], strict=False):
            if begin < end:
                part = value[begin:end]
                part *= block.weight / math.sqrt(part @ part)
        return np.asarray(value @ self._weights.take(where, axis=0))


def _read(folder: Path, name: str, about: Any) -> bytes:
    """The bytes of a file, if they are those that were saved."""
    body = (folder / name).read_bytes()
    if hashlib.sha256(body).hexdigest() != about["files"][name]:
        raise ModelError(f"{name} is not the file that was saved (SHA-256)")
    return body


def _terms(block: Block, vocabulary: Any, arrays: Any) -> Terms:
    position = {term: number for number, term in enumerate(vocabulary[block.name])}
    made = Terms(block, position, arrays[f"{block.name}.rarity"], arrays[f"{block.name}.weights"])
    if not len(position) == len(made.rarity) == len(made.weights):
        raise ModelError(f"the parts of {block.name} do not fit each other")
    return made
