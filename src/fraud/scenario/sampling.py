"""Draws from named streams.

Only `Random.random` is used: it is the one method whose sequence Python promises to keep.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from random import Random
from typing import TypeVar

__all__ = ["Draw", "exponential", "ladder", "normal", "pick", "poisson", "stream"]

Draw = Callable[[], float]
T = TypeVar("T")


def stream(*name: object) -> Draw:
    """The uniform draws of a name: always the same ones, whatever else was drawn."""
    return Random(":".join(map(str, name))).random  # noqa: S311 - it simulates, it keeps no secret


def ladder(weights: Sequence[float]) -> list[float]:
    """Running shares that end at exactly 1, so that a draw below 1 always finds its step."""
    steps = list(accumulate(weights))
    return [step / steps[-1] for step in steps[:-1]] + [1.0]


def pick(choices: Sequence[T], draw: float) -> T:
    """One of them, each as likely as the next."""
    return choices[int(draw * len(choices))]


def normal(first: float, second: float) -> float:
    """Two uniform draws as one normal one (Box and Muller)."""
    return math.sqrt(-2.0 * math.log(1.0 - first)) * math.cos(2.0 * math.pi * second)


def exponential(draw: float, mean: float) -> float:
    """A waiting time that remembers nothing."""
    return -mean * math.log(1.0 - draw)


def poisson(draw: Draw, mean: float) -> int:
    """How many of many rare things happen."""
    count, waited = 0, exponential(draw(), 1.0)
    while waited < mean:
        count += 1
        waited += exponential(draw(), 1.0)
    return count
