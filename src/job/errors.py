"""What may go wrong without being a defect of the program."""

from __future__ import annotations

__all__ = ["JobError", "SettingError"]


class JobError(Exception):
    """Something outside this program failed: one line that says what, and what to do.

    Attributes:
        exit_code: What a program ends with that fails by it.
    """

    exit_code = 1


class SettingError(JobError):
    """An environment variable is missing or has a value that cannot be used."""

    exit_code = 2
