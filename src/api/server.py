"""`python -m api.server`: answers until SIGTERM, and then to the end of what was asked.

Exit codes: 0 ended by a signal, 2 a setting is wrong, the port is taken.
"""

from __future__ import annotations

import logging
import sys

from api.app import create_app
from api.metrics import Metrics
from api.model import Champion
from api.outbox import Outbox
from api.settings import Settings
from web.auth import Auth
from web.guard import guard
from web.limits import Rate
from web.observing import Draining
from web.server import listen, run
from web.server import serve as answer

__all__ = ["main"]

# For MongoDB to take what is left: Compose waits for 20.
SHIP_SECONDS = 3.0

log = logging.getLogger("api")


def main() -> int:
    """Serve."""
    return run(lambda: serve(Settings.read()))


def serve(settings: Settings) -> None:
    """Answer, by these settings, until a signal comes."""
    metrics, draining, server = Metrics(), Draining(), settings.server
    auth = Auth.read(server, "catalogue")
    champion = Champion(settings.tracking_uri, settings.model_poll, metrics)
    with listen(server) as listener:
        outbox = Outbox(settings.spool, settings.mongodb_uri, metrics.registry)
        app = create_app(champion, outbox, auth, metrics, draining)
        guarded = guard(app, Rate(server.rate, server.burst), metrics, draining, server.origins)
        try:
            champion.start()
            answer(guarded, listener, draining, server.drain)
        finally:
            champion.stop()
            outbox.close(SHIP_SECONDS)
            log.info("stopped")


if __name__ == "__main__":
    sys.exit(main())
