"""When the output of a service came: beside each log a record of its sizes, lines of `offset time`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["GRAIN", "read_times", "record_times"]

GRAIN = 0.05
"""How fine the record is, in seconds."""
# Who records without reading looks at a silent service less often.
_SELDOM = 0.25


def record_times(directory: Path, ended: Callable[[float], bool]) -> None:
    """Write down when the output of the present try comes, until `ended`; for who started it and reads none of it."""
    with contextlib.ExitStack() as stack, contextlib.suppress(OSError):  # a full disk, or `gigogne down`
        records = {
            directory / f"{stream}.log": stack.enter_context(
                (directory / f"{stream}.times").open("a", encoding="ascii")
            )
            for stream in ("stdout", "stderr")
        }
        known = dict.fromkeys(records, 0)
        pause, over = 0.0, False
        while not over:
            over = ended(pause)
            pause = min(max(pause * 1.5, GRAIN), _SELDOM)
            now = time.time()
            for log, record in records.items():
                size = log.stat().st_size
                if size > known[log]:
                    known[log], pause = size, GRAIN
                    record.write(f"{size} {now:.3f}\n")
                    record.flush()


def read_times(record: Path) -> Iterator[tuple[int, float]]:
    """The offsets and times of a record; a line that is only half written is no line."""
    with contextlib.suppress(OSError):
        for line in record.read_text(encoding="ascii").splitlines(keepends=True):
            offset, _, seen = line.partition(" ")
            if line.endswith("\n"):
                yield int(offset), float(seen)
