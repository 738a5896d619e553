"""The prediction of a bank without a model: rules of thumb about one transaction alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fraud.scenario.cards import NIGHT

__all__ = ["predicted"]

LARGE = 600.0
LARGE_ONLINE_AT_NIGHT = 150.0
LARGE_AWAY = 150.0
# Latitude and longitude together, in degrees: some 250 km.
AWAY = 3.0


def predicted(transaction: Mapping[str, Any], at: datetime) -> bool:
    """Whether the rules call it a fraud: a large amount, a smaller one online at night, or in a shop far from home."""
    amount = transaction["amt"]
    if amount < LARGE_AWAY:
        return False
    if transaction["category"].endswith("_net"):
        return bool(amount >= LARGE or (amount >= LARGE_ONLINE_AT_NIGHT and at.hour in NIGHT))
    away = abs(transaction["lat"] - transaction["merch_lat"]) + abs(transaction["long"] - transaction["merch_long"])
    return bool(amount >= LARGE or away >= AWAY)
