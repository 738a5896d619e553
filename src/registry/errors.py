"""What may go wrong with models in MLflow, as one line that says what, and what to do."""

from __future__ import annotations

__all__ = ["RegistryError", "SettingError"]


class RegistryError(Exception):
    """MLflow, or the PostgreSQL that has the locks, did not give what it was asked for.

    Attributes:
        exit_code: What a program ends with that fails by it.
    """

    exit_code = 1


class SettingError(RegistryError):
    """An address is none."""

    exit_code = 2
