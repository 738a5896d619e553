"""Environment variables as values that are checked, and refused by their name."""

from __future__ import annotations

import os

from job.errors import SettingError

__all__ = ["flag", "number", "text", "whole_number"]

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"", "0", "false", "no", "off"})


def text(name: str, default: str = "") -> str:
    """The variable's value without surrounding blanks; an empty one counts as not set."""
    return os.environ.get(name, "").strip() or default


def flag(name: str) -> bool:
    """The variable as yes or no; not set means no.

    Raises:
        SettingError: It is neither.
    """
    value = text(name).lower()
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise SettingError(f"{name}={value!r} is neither yes nor no: write 1 or 0")


def whole_number(name: str, default: int, least: int = 0) -> int:
    """The variable as a whole number that is at least ``least``.

    Raises:
        SettingError: It is none, or too small.
    """
    value = text(name, str(default))
    try:
        found = int(value)
    except ValueError:
        raise SettingError(f"{name}={value!r} is not a whole number") from None
    if found < least:
        raise SettingError(f"{name}={found} is too small: {least} is the least that makes sense")
    return found


def number(name: str, default: float, *, least: float, most: float = 1e9, whole: bool = False) -> float:
    """The variable as a number between two others.

    Raises:
        SettingError: It is none.
    """
    value = text(name, str(default))
    kind = "whole number" if whole else "number"
    try:
        found = float(int(value)) if whole else float(value)
    except ValueError:
        raise SettingError(f"{name}={value!r} is not a {kind}") from None
    if not least <= found <= most:
        raise SettingError(f"{name}={value} is not possible: write a {kind} from {least:g} to {most:g}")
    return found
