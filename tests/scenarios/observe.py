"""What a run said, and what it left behind."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any

import psutil
from tests.conftest import Workspace

__all__ = ["Maker", "events", "left_behind", "outcome", "wait_for"]

Maker = Callable[[str, Mapping[str, str]], Workspace]


def events(result: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """The events that `--json` printed."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def outcome(result: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Service → verdict, from the summary of `--json`."""
    return {service["service"]: service["result"] for service in events(result)[-1]["services"]}


def left_behind(marker: str) -> list[str]:
    """Processes that carry `marker` in their command line or environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and marker in " ".join(process.cmdline()):
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
