"""`python -m api.health`: exit code 0 where the API answers, 1 where it does not, 2 where a setting is wrong."""

from __future__ import annotations

import sys

from api.settings import Settings
from job.errors import SettingError
from web import health

__all__ = ["main"]


def main() -> int:
    """Ask."""
    try:
        settings = Settings.read()
    except SettingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return health.ask(settings.server, "the API")


if __name__ == "__main__":
    sys.exit(main())
