"""``python -m fraud.scoring.health``: exit code 0 where the scorer answers, 1 where not, 2 where a setting is wrong."""

from __future__ import annotations

import sys

from fraud.scoring.settings import PORT, PREFIX
from job.errors import SettingError
from web import health
from web.settings import ServerSettings

__all__ = ["main"]


def main() -> int:
    """Ask."""
    try:
        settings = ServerSettings.read(PREFIX, PORT)
    except SettingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return health.ask(settings, "the scorer")


if __name__ == "__main__":
    sys.exit(main())
