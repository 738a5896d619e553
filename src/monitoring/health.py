"""`python -m monitoring.health`: end with 0 while monitor answers, at the address of its own settings."""

from __future__ import annotations

import httpx

from monitoring.job import JobError, run, text, whole_number

__all__ = ["main"]


def main() -> None:
    """Ask it."""
    address = f"http://{text('MONITOR_HOST', '127.0.0.1')}:{whole_number('MONITOR_PORT', 8001)}/health"
    try:
        answer = httpx.get(address, timeout=5, trust_env=False)
    except httpx.HTTPError as error:
        raise JobError(f"monitor does not answer at {address}: {type(error).__name__}") from None
    if not answer.is_success:
        raise JobError(f"monitor answers {answer.status_code} at {address}")


if __name__ == "__main__":
    run(main)
