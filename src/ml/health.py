"""`python -m ml.health`: end with 0 while the worker of this container gives signs of life to the queue."""

from __future__ import annotations

from job.errors import JobError
from job.program import run
from ml.queue import open_queue, stalled_after
from ml.settings import Settings

__all__ = ["main"]


def main() -> None:
    """Look for the worker's sign of life."""
    settings = Settings.read()
    with open_queue(settings.database_uri, prepare=False) as queue:
        if not queue.served_here():
            raise JobError(f"this worker gives no sign of life since {stalled_after()} seconds: restart ml-worker")


if __name__ == "__main__":
    run(main)
