"""Whether the player moves: it touches its state every second, while it waits for the scorer too."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from job.settings import text

__all__ = ["STATE", "main"]

STATE = "/data/player/state.json"
STILL = 30.0


def main() -> None:
    """End with 0 if it does, and say why if not."""
    path = Path(text("PLAYER_STATE", STATE))
    try:
        age = time.time() - path.stat().st_mtime
    except OSError as error:
        sys.exit(f"{path}: {error.strerror}")
    if age > STILL:
        sys.exit(f"{path} was not touched for {age:.0f} s")


if __name__ == "__main__":
    main()
