"""`python -m ml.child MODULE`: a program that ends with the worker that started it.

The worker holds the other end of its standard input. When that closes, the worker was killed without a word, and
another one begins the request anew: two at once would do everything twice.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading

__all__ = ["main"]


def main() -> None:
    """Run the module that the command line names, as `python -m` does."""
    threading.Thread(target=_end_with_the_worker, daemon=True).start()
    runpy.run_module(sys.argv[1], run_name="__main__", alter_sys=True)


def _end_with_the_worker() -> None:
    # Not sys.stdin: its lock would be held when the interpreter ends.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
