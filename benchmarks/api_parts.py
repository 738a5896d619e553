"""`python -m api.server` without some of its parts: what they cost is the difference. api.py runs it.

python benchmarks/api_parts.py storage metrics limits
"""

from __future__ import annotations

import gc
import sys
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from api.app import create_app
from api.auth import Auth
from api.limits import Limits, Rate
from api.metrics import Metrics
from api.model import Champion
from api.observing import Draining, Observed
from api.outbox import Outbox
from api.settings import Settings
from api.users import Users

__all__ = ["PARTS"]

PARTS = STORAGE, METRICS, LIMITS = "storage", "metrics", "limits"


class Forgetful:
    """Keeps nothing."""

    def put(self, collection: str, document: dict[str, Any]) -> None:
        """Take a document, and drop it."""


class Uncounted(Metrics):
    """Counts no prediction."""

    def prediction(self, code: int, probability: float, version: int) -> None:
        """Take no note."""


def main() -> None:
    """Serve without the parts that are named."""
    without, settings = set(sys.argv[1:]), Settings.read()
    metrics, draining = (Uncounted if METRICS in without else Metrics)(), Draining()
    outbox = None if STORAGE in without else Outbox(settings.spool, settings.mongodb_uri, metrics.registry)
    champion = Champion(settings.tracking_uri, settings.model_poll, metrics)
    auth = Auth(Users(), "", settings.token_minutes, limit=lambda client: 0.0)
    app: ASGIApp = create_app(champion, outbox or Forgetful(), auth, metrics, draining)
    if LIMITS not in without:
        app = Limits(app, Rate(settings.rate, settings.burst))
    if METRICS not in without:
        app = Observed(app, metrics, draining)
    champion.start()
    gc.freeze()
    try:
        uvicorn.run(
            app,
            host=settings.host,
            port=settings.port,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
        )
    finally:
        champion.stop()
        if outbox:
            outbox.close(3.0)


if __name__ == "__main__":
    main()
