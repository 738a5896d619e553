"""What a health check asks: whether a server answers. Whether it is ready is another question."""

from __future__ import annotations

import http.client
import sys

from web.settings import ServerSettings

__all__ = ["ask"]

PATIENCE_SECONDS = 4.0


def ask(settings: ServerSettings, name: str) -> int:
    """Ask a server that was told these settings: 0 where it answers, 1 where it does not."""
    asked = http.client.HTTPConnection(settings.host, settings.port, timeout=PATIENCE_SECONDS)
    try:
        asked.request("GET", "/health/live")
        status = asked.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        print(f"{name} does not answer: {error}", file=sys.stderr)
        return 1
    finally:
        asked.close()
    return 0 if status == http.client.OK else 1
