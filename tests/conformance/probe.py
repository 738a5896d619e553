"""Who asks a published port from outside, while the project runs."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conformance.behaviour import OUT, Behaviour

__all__ = ["probing"]


@contextmanager
def probing(behaviour: Behaviour, folder: Path) -> Iterator[None]:
    """While this holds, the behaviour's published port is asked until it answers; the answer goes to `out/answer`."""
    if behaviour.probe is None:
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_ask, args=(behaviour.probe, folder / OUT / "answer", over))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _ask(port: int, answer: Path, over: threading.Event) -> None:
    while not over.wait(0.1):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2) as response:
                text = response.read()
        except OSError:
            continue
        unfinished = answer.with_suffix(".part")
        unfinished.write_bytes(text)
        unfinished.rename(answer)
        return
