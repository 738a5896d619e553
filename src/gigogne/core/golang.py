"""What a program that is written in Go is told by its environment. Docker Compose is one."""

from __future__ import annotations

__all__ = ["SHORT_LIVED"]

# A quarter of the time of a short command would go to collecting garbage that its end gives back anyway.
SHORT_LIVED = {"GOGC": "off", "GOMEMLIMIT": "256MiB"}
