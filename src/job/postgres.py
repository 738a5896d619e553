"""The address of a PostgreSQL, and what it says where it fails, without the password that the address may hold."""

from __future__ import annotations

import re
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from job.errors import SettingError

__all__ = ["EXAMPLE", "first_line", "malformed", "parts_of"]

EXAMPLE = "postgresql://user:password@host:5432/database"


def parts_of(uri: str, variable: str) -> dict[str, Any]:
    """The parts of an address by libpq's names, ``host`` say.

    Args:
        uri: The address.
        variable: The environment variable that names it, for messages.

    Raises:
        SettingError: It is none.
    """
    try:
        return dict(conninfo_to_dict(uri))
    except psycopg.Error:
        # libpq's own message may quote a part of the password: say nothing of what it read.
        raise malformed(variable) from None


def malformed(variable: str) -> SettingError:
    """What is said of an address that is none."""
    hint = "percent-encode special characters of the password (@ is %40, / is %2F, : is %3A)"
    return SettingError(f"{variable} is not an address that PostgreSQL understands: write {EXAMPLE}, and {hint}")


def first_line(error: BaseException) -> str:
    """What libpq says, without the address that it puts before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"^connection (failed|to server)[^:]*: *", "", lines[0]) if lines else type(error).__name__
