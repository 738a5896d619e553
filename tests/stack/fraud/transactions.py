"""Generated transactions as features are made of them."""

from __future__ import annotations

from fraud.features import Transaction
from fraud.generator import Event

__all__ = ["transaction"]

FIELDS = ("merchant", "category", "amt", "lat", "long", "merch_lat", "merch_long", "city_pop")


def transaction(event: Event) -> Transaction:
    """What features are made of, of what happens."""
    made = event.transaction
    return Transaction(made["trans_num"], int(made["cc_num"]), event.at, *(made[name] for name in FIELDS))
