"""Which process an id means: the system uses ids again, so that one counts only with the time of its start."""

from __future__ import annotations

from pathlib import Path

import psutil

__all__ = ["TOLERANCE", "birth_of", "lives", "process_of"]

# The start of a process as it is told twice.
TOLERANCE = 1.0


def birth_of(process: psutil.Process) -> float:
    """When a process was started: on Linux in clock ticks since the boot, which no change of the clock moves."""
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text(errors="replace")
    except OSError:
        return float(process.create_time())
    return float(stat.rpartition(")")[2].split()[19])


def process_of(pid: int, birth: float) -> psutil.Process | None:
    """The process of this id, where it is the one that was started then."""
    try:
        process = psutil.Process(pid)
        return process if abs(birth_of(process) - birth) < TOLERANCE else None
    except psutil.NoSuchProcess:
        return None


def lives(pid: int, birth: float) -> bool:
    """Whether the process that was started then runs: one that nobody has waited for does not."""
    process = process_of(pid, birth)
    try:
        return process is not None and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
