"""However a process with an outbox ends, what it had saved is there once, and no more than a moment is missing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests
from pymongo.collection import Collection
from tests.stack.api.conftest import StandIn, StartApi
from tests.stack.api.outbox.conftest import NOBODY, Document, Open, numbers, until
from tests.stack.conftest import environment

from catalog.classifier import Classifier
from job.errors import SettingError

# Puts numbered documents until SIGTERM, or until it is killed. It says how many it has put: when the first thousand are
# saved, and in the end.
PROGRAM = """
import os, signal, sys, threading, time
from pathlib import Path
from prometheus_client import CollectorRegistry
from api.outbox import Outbox

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
outbox = Outbox(Path(sys.argv[1]), os.environ["MONGODB_URI"], CollectorRegistry())
number = 0
def put():
    global number
    outbox.put("predictions", {"_id": f"{number:032x}", "number": number, "description": "a" * 500})
    number += 1
while number < 1000:
    put()
while outbox.unsaved:
    time.sleep(0.01)
print(number, flush=True)
while not stop.wait(0.001):
    put()
outbox.close(float(sys.argv[2]))
print(number, flush=True)
"""
# The same on a disk with room for a third of the first thousand; then there is room again.
FULL_DISK = """
import logging, os, resource, sys, threading, time
from pathlib import Path
from prometheus_client import CollectorRegistry
from api.outbox import Outbox

logging.basicConfig(level=logging.INFO)
told = threading.Event()
logging.getLogger("api.outbox").addFilter(lambda record: told.set() or True)
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
outbox = Outbox(Path(sys.argv[1]), os.environ["MONGODB_URI"], CollectorRegistry())
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, unlimited[1]))
def put(numbers):
    for number in numbers:
        outbox.put("predictions", {"_id": f"{number:032x}", "number": number, "description": "a" * 500})
put(range(3000))
told.wait(60)
while sys.argv[2] == "drained" and outbox.waiting:
    time.sleep(0.02)
if sys.argv[2] == "mended":
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    put(range(3000, 3100))
outbox.close(0.1)
"""


@contextmanager
def program(spool: Path, uri: str, patience: float = 5.0) -> Iterator[subprocess.Popen[str]]:
    """A process that puts documents."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(spool), str(patience)],
        env=environment(MONGODB_URI=uri),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> int:
    """The number that it prints next."""
    assert process.stdout is not None
    return int(process.stdout.readline())


@pytest.mark.parametrize("reachable", [True, False], ids=["in the middle of shipping", "while MongoDB is away"])
def test_a_process_that_is_killed_loses_the_last_moment_alone(
    opened: Open, tmp_path: Path, uri: str, predictions: Collection[Document], reachable: bool
) -> None:
    """After kill -9, the next one sends what was saved: without a hole, and nothing twice."""
    with program(tmp_path / "spool", uri if reachable else NOBODY) as process:
        saved = said(process)
        time.sleep(0.5)
        process.kill()
    outbox = opened(uri)
    assert outbox.waiting or reachable
    until(lambda: outbox.waiting == 0)
    found = numbers(predictions)
    assert len(found) >= saved
    assert found == list(range(len(found)))


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("reachable", [True, False], ids=["there", "away"])
def test_sigterm_loses_nothing(
    opened: Open, tmp_path: Path, uri: str, predictions: Collection[Document], reachable: bool
) -> None:
    """What was put is in MongoDB, or in the spool for the next one."""
    with program(tmp_path / "spool", uri if reachable else NOBODY, 5 if reachable else 0.1) as process:
        said(process)
        process.send_signal(signal.SIGTERM)
        put = said(process)
        assert process.wait(30) == 0
    if not reachable:
        outbox = opened(uri)
        assert outbox.waiting == put
        until(lambda: outbox.waiting == 0)
    assert numbers(predictions) == list(range(put))


def test_two_processes_on_one_spool_are_one_too_many(tmp_path: Path, opened: Open) -> None:
    """The second one is refused in one line, while the first lives; a predecessor may take a moment to end."""
    with program(tmp_path / "spool", NOBODY) as process:
        said(process)
        with pytest.raises(SettingError, match=r"API_SPOOL=.*spool is another process's: stop that one"):
            opened(NOBODY)
        process.kill()
    assert opened(NOBODY).waiting >= 1000


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
@pytest.mark.parametrize("course", ["drained", "mended", "lost"])
def test_on_a_full_disk_documents_are_held_in_memory(
    opened: Open, tmp_path: Path, uri: str, predictions: Collection[Document], course: str
) -> None:
    """They go to MongoDB if it is there, else to the disk when it has room; only an end in between loses them."""
    result = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "spool"), course],
        env=environment(MONGODB_URI=uri if course == "drained" else NOBODY),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stderr.count("API_SPOOL cannot be written") == 1
    assert ("can be written again" in result.stderr) == (course != "lost")
    assert ("3000 documents are lost: the disk of API_SPOOL took nothing" in result.stderr) == (course == "lost")
    if course == "mended":
        outbox = opened(uri)
        assert outbox.waiting == 3100
        until(lambda: outbox.waiting == 0)
    assert numbers(predictions) == list(range({"drained": 3000, "mended": 3100, "lost": 0}[course]))


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_what_the_api_has_answered_is_kept(
    start_api: StartApi,
    registry: StandIn,
    classifiers: tuple[Classifier, Classifier],
    uri: str,
    predictions: Collection[Document],
) -> None:
    """SIGTERM in the middle of traffic: every prediction that somebody got is in MongoDB, word for word."""
    registry.promote(classifiers[0])
    given: dict[str, int] = {}
    with start_api(MLFLOW_TRACKING_URI=registry.url, MONGODB_URI=uri) as api:
        api.serves(1)

        def ask() -> None:
            with suppress(requests.ConnectionError):  # it has ended
                while True:
                    answer = api.predict(f"roman {len(given)}")
                    given[answer.json()["id"]] = answer.json()["categories"][0]["code"]

        with ThreadPoolExecutor() as clients:
            asked = [clients.submit(ask) for _ in range(4)]
            api.wait(lambda: len(given) > 100)
            assert api.end() == 0
        for each in asked:
            each.result()
    kept = {each["_id"]: each["categories"][0]["code"] for each in predictions.find()}
    assert given.items() <= kept.items()
