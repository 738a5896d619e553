"""`python -m monitoring.health`: end with 0 while monitor answers, at the address of its own settings."""

from __future__ import annotations

from http import HTTPStatus

import urllib3

from job.errors import JobError
from job.program import run
from job.settings import text, whole_number

__all__ = ["main"]


def main() -> None:
    """Ask it."""
    address = f"http://{text('MONITOR_HOST', '127.0.0.1')}:{whole_number('MONITOR_PORT', 8001)}/health"
    try:
        answer = urllib3.request("GET", address, timeout=5, retries=False)
    except urllib3.exceptions.HTTPError as error:
        raise JobError(f"monitor does not answer at {address}: {type(error).__name__}") from None
    if answer.status != HTTPStatus.OK:
        raise JobError(f"monitor answers {answer.status} at {address}")


if __name__ == "__main__":
    run(main)
