"""`python -m fraud.logger_health`: end with 0 while a logger of this container follows the landing folder."""

from __future__ import annotations

from fraud.database import Address, session
from job.errors import JobError
from job.program import run

__all__ = ["main"]

# The logger's own connection: an address is a container's own.
FOLLOWING = (
    "SELECT FROM pg_stat_activity WHERE application_name = 'fraud.logger_sql'"
    " AND client_addr IS NOT DISTINCT FROM inet_client_addr() LIMIT 1"
)


def main() -> None:
    """Look for the logger's connection."""
    with session(Address.read(), "logger_health") as connection:
        if connection.execute(FOLLOWING).fetchone() is None:
            raise JobError("no logger of this container is connected to PostgreSQL: restart logger_live")


if __name__ == "__main__":
    run(main)
