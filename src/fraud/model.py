"""The fraud detector as it is served: decision trees as arrays, and what reads them. It needs numpy and nothing else.

A folder holds it: `detector.json` says what it is and how its other files hash, `trees.npz` has the numbers. Nothing in
it is code, so a file from strangers can be wrong but cannot run.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fraud.features import FEATURES

__all__ = ["ABOUT", "FILES", "TREES", "Detector", "ModelError", "Trees", "read_file"]

FORMAT = 1
FILES = ABOUT, TREES = "detector.json", "trees.npz"
"""What `Detector.load` reads."""

Floats = npt.NDArray[np.float64]
# So many rows are scored at once: what is in between stays in the processor's cache.
CHUNK = 256


class ModelError(Exception):
    """A folder holds no detector, or not the one that was saved."""


@dataclass(frozen=True)
class Trees:
    """Decision trees in one table of nodes. A leaf is its own child, so that all trees are walked to one depth."""

    feature: npt.NDArray[np.int32]
    cut: Floats
    missing_left: npt.NDArray[np.bool_]
    # Of each node the child for values above the cut, and the one for the others.
    children: npt.NDArray[np.int32]
    value: Floats
    roots: npt.NDArray[np.int32]
    depth: int

    def sums(self, rows: Floats) -> Floats:
        """The sum of the leaves that each row falls into."""
        sums = np.empty(len(rows))
        for first in range(0, len(rows), CHUNK):
            part = rows[first : first + CHUNK]
            sums[first : first + CHUNK] = self.value[self._leaves(part)].sum(axis=1)
        return sums

    def _leaves(self, rows: Floats) -> npt.NDArray[np.int32]:
        """The leaf of each tree that each row falls into. `take` of flat tables: a third of the time of indexing."""
        count, width = rows.shape
        values, absent = rows.ravel(), np.isnan(rows).ravel()
        some_absent, first = bool(absent.any()), (width * np.arange(count))[:, np.newaxis]
        children, node = self.children.ravel(), np.broadcast_to(self.roots, (count, len(self.roots)))
        for _ in range(self.depth):
            place = first + self.feature.take(node)
            left = values.take(place) <= self.cut.take(node)
            if some_absent:
                left |= absent.take(place) & self.missing_left.take(node)
            node = children.take(2 * node + left)
        return node


@dataclass(frozen=True)
class Detector:
    """How likely a transaction is a fraud, by its `fraud.features`; and from where on that is an alarm."""

    trees: Trees
    # Log odds of what no tree has spoken of, and the line that makes the trees' log odds calibrated ones.
    baseline: float
    slope: float
    intercept: float
    threshold: float

    def score(self, rows: Sequence[Sequence[float]] | Floats) -> Floats:
        """The calibrated probability of fraud of each row of `FEATURES`, in 64 bits."""
        given = np.asarray(rows, np.float64) if len(rows) else np.empty((0, len(FEATURES)))
        if given.shape[1] != len(FEATURES):
            raise ValueError(f"a row has {given.shape[1]} features, and the detector reads {len(FEATURES)}")
        return self.calibrated(self.log_odds(given))

    def log_odds(self, rows: Floats) -> Floats:
        """What the trees say of each row, not calibrated."""
        return np.asarray(self.baseline + self.trees.sums(rows))

    def calibrated(self, log_odds: Floats) -> Floats:
        """Log odds of the trees as probabilities."""
        return np.asarray(1 / (1 + np.exp(-(self.slope * log_odds + self.intercept))))

    def is_fraud(self, scores: Floats) -> npt.NDArray[np.bool_]:
        """Which scores are alarms."""
        return np.asarray(scores >= self.threshold)

    def save(self, folder: Path, beside: Mapping[str, bytes] | None = None) -> None:
        """Write the files into an empty folder, with others beside them whose digests are kept too."""
        written = io.BytesIO()
        np.savez_compressed(written, allow_pickle=False, **{name: getattr(self.trees, name) for name in ARRAYS})
        files = {TREES: written.getvalue(), **(beside or {})}
        about = {
            "format": FORMAT,
            "features": list(FEATURES),
            "depth": self.trees.depth,
            **{name: getattr(self, name) for name in NUMBERS},
            "files": {name: hashlib.sha256(body).hexdigest() for name, body in files.items()},
        }
        for name, body in {**files, ABOUT: json.dumps(about, indent=2).encode()}.items():
            (folder / name).write_bytes(body)

    @classmethod
    def load(cls, folder: Path) -> Detector:
        """The detector that a folder holds.

        Raises:
            ModelError: It holds none, or files that changed since it was saved, or one of other features.
        """
        about = _about(folder)
        try:
            if tuple(about["features"]) != FEATURES:
                raise ModelError(f"{ABOUT} is of other features than this program computes: train anew")
            with np.load(io.BytesIO(read_file(folder, TREES)), allow_pickle=False) as arrays:
                trees = _trees({name: arrays[name] for name in ARRAYS}, int(about["depth"]))
            return cls(trees, **{name: float(about[name]) for name in NUMBERS})
        except (ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise ModelError(f"{ABOUT} describes no detector: {error!r}") from None


ARRAYS = ("feature", "cut", "missing_left", "children", "value", "roots")
NUMBERS = ("baseline", "slope", "intercept", "threshold")


def read_file(folder: Path, name: str) -> bytes:
    """The bytes of a file beside the detector, if they are those that were saved.

    Raises:
        ModelError: It is not there, or another one.
    """
    about = _about(folder)
    try:
        body = (folder / name).read_bytes()
        digest = about["files"][name]
    except OSError as error:
        raise ModelError(f"{name} cannot be read: {error.strerror}") from None
    except (KeyError, TypeError) as error:
        raise ModelError(f"{ABOUT} describes no detector: {error!r}") from None
    if hashlib.sha256(body).hexdigest() != digest:
        raise ModelError(f"{name} is not the file that was saved (SHA-256)")
    return body


def _about(folder: Path) -> dict[str, Any]:
    try:
        about = json.loads((folder / ABOUT).read_bytes())
        if about["format"] != FORMAT:
            raise ModelError(f"{ABOUT} has format {about['format']}, and this program reads {FORMAT}")
    except OSError as error:
        raise ModelError(f"{ABOUT} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{ABOUT} describes no detector: {error!r}") from None
    return dict(about)


def _trees(arrays: Mapping[str, Any], depth: int) -> Trees:
    """The trees, if no node leads out of the table."""
    nodes = len(arrays["value"])
    fits = (
        all(len(arrays[name]) == nodes for name in ("feature", "cut", "missing_left"))
        and arrays["children"].shape == (nodes, 2)
        and all(_within(arrays[name], nodes) for name in ("children", "roots"))
        and _within(arrays["feature"], len(FEATURES))
    )
    if not fits:
        raise ModelError(f"the parts of {TREES} do not fit each other")
    return Trees(**arrays, depth=depth)


def _within(numbers: Any, end: int) -> bool:
    return bool(np.issubdtype(numbers.dtype, np.integer) and (numbers >= 0).all() and (numbers < end).all())
