"""``python -m fraud.scoring.server``: scores until SIGTERM, and then to the end of what was asked.

Exit codes: 0 ended by a signal, 1 the landing folder cannot be read, 2 a setting is wrong, the port is taken.
"""

from __future__ import annotations

import logging
import sys

from fraud.scoring.app import create_app
from fraud.scoring.handover import Handover
from fraud.scoring.history import History
from fraud.scoring.metrics import Metrics
from fraud.scoring.model import Champion, Thresholds
from fraud.scoring.scorer import Scorer
from fraud.scoring.segments import Segments, claim, recover
from fraud.scoring.settings import Settings
from web.auth import Auth
from web.guard import guard
from web.limits import Rate
from web.observing import Draining
from web.server import listen, run
from web.server import serve as answer

__all__ = ["main"]

log = logging.getLogger("fraud.scorer")


def main() -> int:
    """Serve."""
    return run(lambda: serve(Settings.read()))


def serve(settings: Settings) -> None:
    """Answer, by these settings, until a signal comes."""
    metrics, draining, server = Metrics(), Draining(), settings.server
    auth = Auth.read(server, "fraud")
    with listen(server) as listener, claim(settings.landing):
        thresholds = Thresholds(settings.landing)
        champion = Champion(settings.tracking_uri, settings.model_poll, thresholds, metrics)
        recover(settings.landing)
        history = History(settings.database, metrics)
        handover = Handover(history, metrics)
        handover.load(settings.landing)
        segments = Segments(settings.landing, handover.sealed)
        scorer = Scorer(champion, thresholds, history, handover, segments, metrics)
        app = create_app(scorer, auth, settings.database, metrics, draining)
        guarded = guard(app, Rate(server.rate, server.burst), metrics, draining, server.origins)
        try:
            champion.start()
            answer(guarded, listener, draining, server.drain, lifespan=True)
        finally:
            champion.stop()
            history.close()
            log.info("stopped")


if __name__ == "__main__":
    sys.exit(main())
