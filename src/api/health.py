"""`python -m api.health`: exit code 0 where the API answers, 1 where it does not, 2 where a setting is wrong.

Whether it is ready is another question.
"""

from __future__ import annotations

import http.client
import sys

from api.settings import SettingError, Settings

__all__ = ["main"]

PATIENCE_SECONDS = 4.0


def main() -> int:
    """Ask."""
    try:
        settings = Settings.read()
    except SettingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
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
