"""`python -m ml.health`: end with 0 while a worker gives signs of life to the queue."""

from __future__ import annotations

from ml.job import JobError, run
from ml.queue import open_queue, stalled_after
from ml.settings import Settings

__all__ = ["main"]


def main() -> None:
    """Look for a worker's heartbeat."""
    settings = Settings.read()
    with open_queue(settings.database_uri) as queue:
        if not queue.served():
            raise JobError(f"no worker has given a sign of life for {stalled_after()} seconds: restart ml-worker")


if __name__ == "__main__":
    run(main)
