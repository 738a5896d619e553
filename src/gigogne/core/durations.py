"""Durations as Go writes them, which Compose and Dockerfiles share."""

from __future__ import annotations

import re

__all__ = ["seconds"]

_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|us|µs|ns|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def seconds(duration: str) -> float:
    """A duration such as `1m30s` in seconds, by the rules of Go's `time.ParseDuration`.

    Raises:
        ValueError: It is none.
    """
    parts = _PART.findall(duration)
    if duration != "0" and (not parts or "".join(number + unit for number, unit in parts) != duration):
        raise ValueError(f"{duration!r} is no duration such as 30s or 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
