"""Paired measurement: contenders take turns in one run, so that a noisy machine is noisy for all of them.

Trust the ratios, not the seconds: each round gives one ratio, and their median and spread are reported. The order
within a round is reversed every other round, so that nobody always runs on a cache that the other one warmed.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Child", "Paired", "Seconds", "Spread", "child", "command", "installed", "machine", "measure"]


@dataclass(frozen=True)
class Spread:
    """A median with the middle half of the values around it."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of some values."""
        if len(values) < 2:
            return cls(values[0], values[0], values[0], len(values))
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high, len(values))

    def text(self, unit: str = "", digits: int = 2) -> str:
        """``1.23 s [1.20, 1.31]``."""
        median, low, high = (f"{value:.{digits}f}" for value in (self.median, self.low, self.high))
        return f"{median}{unit} [{low}, {high}]"


@dataclass(frozen=True)
class Paired:
    """The seconds of each contender, round by round."""

    seconds: Mapping[str, list[float]] = field(default_factory=dict)

    def spread(self, name: str) -> Spread:
        """The seconds of one contender."""
        return Spread.of(self.seconds[name])

    def ratio(self, name: str, base: str) -> Spread:
        """How many times the seconds of ``base`` the contender takes, paired by round."""
        pairs = zip(self.seconds[name], self.seconds[base], strict=True)
        return Spread.of([mine / theirs for mine, theirs in pairs])

    def over(self, name: str, base: str) -> Spread:
        """How many seconds more than ``base`` the contender takes, paired by round."""
        pairs = zip(self.seconds[name], self.seconds[base], strict=True)
        return Spread.of([mine - theirs for mine, theirs in pairs])

    def table(self, base: str) -> str:
        """All contenders against ``base``, as a Markdown table."""
        lines = [
            f"| | median [middle half] | times the seconds of {base}, paired | rounds |",
            "|---|---|---|---|",
        ]
        for name in self.seconds:
            ratio = self.ratio(name, base).text() if name != base else ""
            spread = self.spread(name)
            lines.append(f"| {name} | {spread.text(' s')} | {ratio} | {spread.count} |")
        return "\n".join(lines)


@dataclass(frozen=True)
class Seconds:
    """What a contender took by its own clock: it had more to do than what is measured."""

    value: float


def measure(contenders: Mapping[str, Callable[[], object]], rounds: int, *, warm_up: bool = True) -> Paired:
    """Run every contender once a round, timed, after one round that does not count."""
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    if warm_up:
        for name in names:
            contenders[name]()
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            begin = time.perf_counter()
            result = contenders[name]()
            taken = time.perf_counter() - begin
            seconds[name].append(result.value if isinstance(result, Seconds) else taken)
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return Paired(seconds)


@dataclass(frozen=True)
class Child:
    """What became of a child process."""

    output: str
    peak_mib: float


def child(
    arguments: Sequence[str], environment: Mapping[str, str] | None = None, *, directory: Path | None = None
) -> Child:
    """Run a command to its end and read its largest resident memory; a failure ends the benchmark."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(arguments, env=environment, cwd=directory, stdout=output, stderr=subprocess.STDOUT)
        # wait4 tells the memory of this child alone; getrusage would tell the largest of all.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read().decode(errors="replace")
    if process.returncode != 0:
        sys.exit(f"{arguments[0]} ended with {process.returncode}:\n{said[-2000:]}")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return Child(said, usage.ru_maxrss / unit)


def command(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Callable[[], Child]:
    """A contender that is a command."""
    return lambda: child(arguments, environment)


def installed(folder: Path) -> dict[str, str]:
    """This environment, for a Gigogne that is run as it is installed: its byte code is kept, here in a folder."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(folder / "byte-code")}


def machine() -> str:
    """What there was to measure on, and how busy it is now."""
    busy = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors{busy}"
