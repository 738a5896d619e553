"""How thieves go about it: patterns of several purchases, and one that looks like the holder's own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from fraud.scenario.merchants import CATEGORY_NAMES
from fraud.scenario.sampling import ladder

__all__ = ["FRAUD_RATE", "PATTERNS", "STEALTHY", "Pattern", "Phase"]

FRAUD_RATE = 0.004
"""How many of the transactions are frauds, on average."""
ALL_DAY, BY_DAY, BY_NIGHT = range(24), range(9, 21), (22, 23, 0, 1, 2, 3)
ANY_NET = {"grocery_net": 1.0, "misc_net": 2.0, "shopping_net": 2.0}
DEAR_NET = {"misc_net": 1.0, "shopping_net": 2.0}
DEAR_SHOPS = {
    "shopping_pos": 4.0,
    "grocery_pos": 3.0,
    "gas_transport": 2.0,
    "misc_pos": 1.0,
    "home": 1.0,
    "entertainment": 1.0,
}


@dataclass(frozen=True, eq=False)
class Phase:
    """Purchases of one kind, one after the other."""

    categories: dict[str, float]
    """Where the thief buys, with weights."""
    mean: float
    """Of the amounts' logarithm, and its spread."""
    spread: float
    again: float
    """How likely one more of this kind follows; otherwise the next phase does, or the end."""
    pause: float
    """Seconds until the next purchase, on average."""

    @cached_property
    def ladder(self) -> list[float]:
        """The categories' ladder, over all of them."""
        return ladder([self.categories.get(name, 0.0) for name in CATEGORY_NAMES])


@dataclass(frozen=True, eq=False)
class Pattern:
    """An episode's course: when it begins, its phases, and how many of the frauds belong to such ones."""

    name: str
    share: float
    hours: tuple[int, ...]
    phases: tuple[Phase, ...]

    @cached_property
    def length(self) -> float:
        """How many purchases an episode has, on average."""
        return sum(1.0 / (1.0 - phase.again) for phase in self.phases)

    @property
    def a_day(self) -> float:
        """How many episodes begin for each transaction of a day, at `FRAUD_RATE`."""
        return FRAUD_RATE * self.share / self.length


PATTERNS = (
    # Does the number work? Some small purchases online tell, then a large one is made.
    Pattern(
        "testing",
        0.26,
        tuple(ALL_DAY),
        (Phase(ANY_NET, 1.0, 0.5, 0.70, 90.0), Phase(DEAR_NET, 5.8, 0.6, 0.0, 600.0)),
    ),
    # A card that was stolen, or copied: shop after shop in another town, while the holder uses it at home.
    Pattern("stolen", 0.33, tuple(BY_DAY), (Phase(DEAR_SHOPS, 5.0, 0.6, 0.75, 900.0),)),
    # An account that was taken over: large purchases online, at night.
    Pattern("takeover", 0.26, BY_NIGHT, (Phase(DEAR_NET, 6.0, 0.6, 0.65, 1200.0),)),
)
STEALTHY = Pattern("stealthy", 0.15, (), (Phase({}, 0.0, 0.0, 0.0, 0.0),))
"""Single purchases like the holder's own, but for the merchants, which the thief does not choose by habit."""
