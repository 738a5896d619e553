"""`python -m api.health`: exit code 0 where the API answers. Whether it is ready is another question."""

from __future__ import annotations

import http.client
import sys

from api.settings import Settings

__all__ = ["main"]

PATIENCE_SECONDS = 4.0


def main() -> int:
    """Ask."""
    settings = Settings.read()
    asked = http.client.HTTPConnection(settings.host, settings.port, timeout=PATIENCE_SECONDS)
    try:
        asked.request("GET", "/health/live")
        status = asked.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        print(f"the API does not answer: {error}", file=sys.stderr)
        return 1
    finally:
        asked.close()
    return 0 if status == http.client.OK else 1


if __name__ == "__main__":
    sys.exit(main())
