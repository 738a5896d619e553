"""`python -m api.server` without some of its parts: the difference is what they cost. api.py runs it.

python benchmarks/api_parts.py storage metrics limits
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any
from unittest.mock import patch

from starlette.types import ASGIApp

from api import server
from api.metrics import Metrics
from web.limits import Limits, Rate
from web.observing import Draining, Observed

STORAGE, METRICS, LIMITS = "storage", "metrics", "limits"


class Forgetful:
    """An outbox that keeps nothing."""

    def __init__(self, *settings: object) -> None: ...

    def put(self, collection: str, document: dict[str, Any]) -> None:
        """Take a document, and drop it."""

    def close(self, patience: float) -> None:
        """Do nothing: nothing is left."""


class Uncounted(Metrics):
    """Metrics that count no prediction."""

    def prediction(self, code: int, probability: float, version: int) -> None:
        """Take no note of it."""


def serve(without: Collection[str]) -> int:
    """Serve without the parts that are named."""

    def guard(app: ASGIApp, rate: Rate, metrics: Metrics, draining: Draining, origins: object) -> ASGIApp:
        limited = app if LIMITS in without else Limits(app, rate)
        return limited if METRICS in without else Observed(limited, metrics, draining)

    others: dict[str, Any] = {"guard": guard}
    if STORAGE in without:
        others["Outbox"] = Forgetful
    if METRICS in without:
        others["Metrics"] = Uncounted
    with patch.multiple(server, **others):
        return server.main()


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1:]))
