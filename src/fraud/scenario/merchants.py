"""The merchants: by category, each with two branches in every town, one in it and one in its outskirts."""

from __future__ import annotations

from functools import cache, cached_property

from fraud.places import CATEGORIES, LAST_NAMES, TOWNS
from fraud.scenario.sampling import Draw, pick, stream

__all__ = ["CATEGORY_NAMES", "ONLINE", "PER_CATEGORY", "Merchants", "Place"]

PER_CATEGORY = 50
CATEGORY_NAMES = tuple(CATEGORIES)
ONLINE = tuple(name.endswith("_net") for name in CATEGORY_NAMES)
"""Which categories, by their number, are bought online."""
# In degrees: a branch in town is within ten kilometres or so, one in the outskirts within a hundred.
IN_TOWN, IN_OUTSKIRTS = 0.1, 0.9
Place = tuple[float, float]


class Merchants:
    """The merchants of one seed: their names, and where their branches are."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.names = [self._names(category) for category in CATEGORY_NAMES]
        """By category, then by merchant."""
        self.branches = cache(self._branches)
        """A town's branches: by category, then two for each merchant, the one in town first."""

    @cached_property
    def towns(self) -> dict[Place, tuple[int, bool]]:
        """Of each branch: the number of its town, and whether it is in the outskirts."""
        return {
            place: (town, bool(number % 2))
            for town in range(len(TOWNS))
            for places in self.branches(town)
            for number, place in enumerate(places)
        }

    def _names(self, category: str) -> list[str]:
        draw = stream(self._seed, "merchants", category)
        return [self._name(draw) for _ in range(PER_CATEGORY)]

    def _name(self, draw: Draw) -> str:
        first, second, third = (pick(LAST_NAMES, draw()) for _ in range(3))
        partners = f"{first}, {second} and {third}"
        # The prefix is part of every merchant's name in the public data set: pipelines strip it.
        return "fraud_" + pick((f"{first} and Sons", f"{first} Group", f"{first}-{second}", partners), draw())

    def _branches(self, town: int) -> list[list[Place]]:
        draw, (lat, long) = stream(self._seed, "branches", town), TOWNS[town][3:5]
        reaches = (IN_TOWN, IN_OUTSKIRTS) * PER_CATEGORY
        return [
            [(round(lat + reach * (2 * draw() - 1), 6), round(long + reach * (2 * draw() - 1), 6)) for reach in reaches]
            for _ in CATEGORY_NAMES
        ]
