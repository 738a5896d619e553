"""The labels `gigogne.airflow.*`: what a service's Compose file asks of Airflow for its task."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from gigogne.core.durations import seconds
from gigogne.core.suggestion import did_you_mean
from gigogne.errors import ComposeError

__all__ = ["PREFIX", "task_options"]

PREFIX = "gigogne.airflow."
_NEVER = "never"


def task_options(labels: Mapping[str, str], place: Callable[[str], object]) -> dict[str, Any]:
    """The arguments of a task that the labels of its service set: plain JSON types, durations in seconds.

    Args:
        labels: All labels of the service.
        place: Where a label stands, for the error.

    Raises:
        ComposeError: A label is not known, or its value is not understood; with file and line.
    """
    found: dict[str, Any] = {}
    for label, value in labels.items():
        if not label.startswith(PREFIX):
            continue
        name = label.removeprefix(PREFIX)
        reader = _READERS.get(name)
        if reader is None:
            hint = did_you_mean(name, _READERS, quote="`") or f"after {PREFIX} may stand: {', '.join(_READERS)}"
            raise ComposeError(f"{place(label)}: there is no label {label}", hint)
        try:
            found[name] = reader(value)
        except ValueError as error:
            raise ComposeError(f"{place(label)}: the label {label} is {value!r}", f"write {error}") from None
    return found


def _number(least: int) -> Callable[[str], int]:
    """Reads a whole number that is not below `least`."""

    def read(value: str) -> int:
        if not re.fullmatch(r"-?\d+", value) or int(value) < least:
            raise ValueError(f"a whole number from {least} on")
        return int(value)

    return read


def _duration(value: str) -> float:
    try:
        return seconds(value)
    except ValueError:
        raise ValueError("a duration such as 30s or 1m30s") from None


def _limit(value: str) -> float:
    if (limit := _duration(value)) == 0:
        raise ValueError("a duration above 0s")
    return limit


def _patience(value: str) -> float | None:
    try:
        return None if value == _NEVER else seconds(value)
    except ValueError:
        raise ValueError(f"a duration such as 30s, or {_NEVER}") from None


def _name(value: str) -> str:
    if not value.strip():
        raise ValueError("a name")
    return value.strip()


def _trigger_rule(value: str) -> str:
    from airflow.sdk import TriggerRule

    known = [rule.value for rule in TriggerRule]
    if value not in known:
        raise ValueError(f"one of {', '.join(known)}")
    return value


def _exit_codes(value: str) -> list[int]:
    codes = [code.strip() for code in value.split(",")]
    if not all(code.isdecimal() and 0 < int(code) < 256 for code in codes):
        raise ValueError("an exit code from 1 to 255, or several with commas")
    return [int(code) for code in codes]


_READERS: Mapping[str, Callable[[str], Any]] = {
    "retries": _number(0),
    "retry_delay": _duration,
    "execution_timeout": _limit,
    "pool": _name,
    "pool_slots": _number(1),
    "queue": _name,
    "priority_weight": _number(-(2**31)),
    "trigger_rule": _trigger_rule,
    "skip_on_exit_code": _exit_codes,
    "defer_after": _patience,
}
