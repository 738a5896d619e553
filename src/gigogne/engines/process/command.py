"""A command to start on this machine, as data."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Command"]


@dataclass(frozen=True, slots=True)
class Command:
    """What to start: `argv` in `directory`, with `environment` and nothing else of the caller's.

    Attributes:
        argv: The command line; never holds the value of a variable.
        environment: The whole environment.
        directory: The working directory on this machine.
        user: The uid to change to before the command starts (root only); None to stay.
        sandboxed: `argv[0]` is bubblewrap, which then reports the inner process and its exit code.
        stop_signal: The signal that asks it to end.
        contents: What a word of `argv`, by its index, gives to read: the word is to be the number of a descriptor.
        result: Where it leaves its result on this machine; None where it is asked for none.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    directory: Path
    user: int | None = None
    sandboxed: bool = False
    stop_signal: int = signal.SIGTERM
    contents: Mapping[int, str] = field(default_factory=dict, repr=False)
    result: Path | None = None
