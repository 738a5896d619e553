"""`python -m ml.request`: asks the workers for a training or for scores, and shows the queue.

train [--data ADDRESS] [--force] [--wait]      train, and promote what is better
score [--data ADDRESS] [--output PREFIX] [--wait]   score products with the champion
list [--limit N]                               the queue, the newest last
"""

from __future__ import annotations

import argparse
import sys
import time

from job.errors import JobError, SettingError
from job.program import run
from job.storage import parse
from ml.queue import ENDED, KINDS, Queue, open_queue
from ml.settings import Settings

__all__ = ["main"]

POLL_SECONDS = 0.5
# A worker takes a request within a second or so, when it has nothing else to do.
PATIENCE = 3.0


class RequestFailedError(JobError):
    """The request failed; the worker's own words have been printed."""


def main() -> None:
    """Do what the command line says."""
    asked = _parser().parse_args()
    settings = Settings.read()
    with open_queue(settings.database_uri) as queue:
        if asked.what == "list":
            _show(queue, asked.limit)
            return
        arguments = _arguments(asked)
        number = queue.add(asked.what, arguments)
        if not asked.wait:
            print(f"request {number} is in the queue: follow the worker's log, or python -m ml.request list")
            return
        try:
            _follow(queue, number)
        except KeyboardInterrupt:
            print(f"request {number} goes on without you: python -m ml.request list", file=sys.stderr)
            raise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ml.request", description="Ask the workers for something.")
    kinds = parser.add_subparsers(dest="what", required=True)
    train = kinds.add_parser("train", help="train, and promote what is better")
    train.add_argument("--force", action="store_true", help="train anew on data that is known already")
    score = kinds.add_parser("score", help="score products with the champion")
    score.add_argument("--output", metavar="s3://BUCKET/PREFIX", help="where the scores go")
    for kind in (train, score):
        kind.add_argument("--data", metavar="s3://…", help="cleaning's manifest, or a Parquet of that shape")
        kind.add_argument("--wait", action="store_true", help="follow it to its end; exit code 1 when it fails")
    shown = kinds.add_parser("list", help="the queue, the newest last")
    shown.add_argument("--limit", type=int, default=20, help="how many (20)")
    return parser


def _arguments(asked: argparse.Namespace) -> dict[str, str]:
    """What the request carries; a wrong address is refused here, before anybody works on it."""
    given = {name: getattr(asked, name) for name in KINDS[asked.what].variables}
    if given.get("data"):
        parse(given["data"])
    if given.get("output"):
        parse(f"{given['output'].rstrip('/')}/manifest.json")
    if given.get("force"):
        given["force"] = "1"
    return {name: value for name, value in given.items() if value}


def _follow(queue: Queue, number: int) -> None:
    """Print what the request says until it ends."""
    shown, asked_at, told = 0, time.monotonic(), False
    while True:
        status = queue.status(number)  # before the lines: none of the last ones is missed
        for line_number, line in queue.lines(number, shown):
            print(line, flush=True)
            shown = line_number
        if status in ENDED:
            break
        if status == "todo" and not told and time.monotonic() - asked_at > PATIENCE and not queue.served():
            print("no worker is alive: docker compose up -d ml-worker", file=sys.stderr, flush=True)
            told = True
        time.sleep(POLL_SECONDS)
    if status != "succeeded":
        raise RequestFailedError(f"request {number} {status}")


def _show(queue: Queue, limit: int) -> None:
    if limit < 1:
        raise SettingError(f"--limit {limit} shows nothing: write 1 or more")
    rows = [(str(each.id), each.kind, each.status, str(each.tries), each.said) for each in queue.recent(limit)]
    table = [("request", "kind", "status", "tries", "said last"), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    for row in table:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]).rstrip())


if __name__ == "__main__":
    run(main)
