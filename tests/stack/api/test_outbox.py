"""The outbox: nothing that it took is lost or doubled, whoever goes away; what it cannot keep is counted and told."""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from pymongo import MongoClient
from pymongo.collection import Collection
from tests.conftest import REPOSITORY, healthy
from tests.stack.api.conftest import StandIn, StartApi
from tests.stack.catalog.conftest import Relay
from tests.stack.conftest import ESCAPED, PASSWORD, environment

from api.outbox import Bound, Outbox
from api.settings import SettingError
from api.spool import Spool
from catalog.classifier import Classifier

Document = dict[str, Any]
NOBODY = "mongodb://admin:secret-of-nobody@127.0.0.1:9/catalog"
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
PREDICTIONS = {"collection": "predictions"}
Open = Callable[..., Outbox]


@pytest.fixture
def uri(mongodb_address: str) -> str:
    """An empty database of the test's own."""
    return f"mongodb://admin:{ESCAPED}@{mongodb_address}/t{uuid.uuid4().hex[:12]}?authSource=admin"


@pytest.fixture
def predictions(uri: str) -> Iterator[Collection[Document]]:
    """The predictions that are in that database."""
    with MongoClient[Document](uri) as client:
        yield client.get_default_database()["predictions"]


@pytest.fixture
def metrics() -> CollectorRegistry:
    """The metrics of one outbox."""
    return CollectorRegistry()


@pytest.fixture
def opened(tmp_path: Path, metrics: CollectorRegistry) -> Iterator[Open]:
    """Opens outboxes on the test's own spool; what is still open at the end is closed."""
    made: list[Outbox] = []

    def open_one(uri: str, bound: Bound | None = None, given: CollectorRegistry | None = None) -> Outbox:
        made.append(Outbox(tmp_path / "spool", uri, given or metrics, bound=bound))
        return made[-1]

    yield open_one
    for each in made:
        each.close(0)


def prediction(number: int, description: str = "a" * 500) -> Document:
    """A document as the API makes them."""
    at = datetime(2026, 11, 22, 13, 0, 0, 123000, UTC)
    return {"_id": f"{number:032x}", "at": at, "number": number, "designation": "Piscine", "description": description}


def until(true: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for something that happens in another thread or process."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)


def numbers(found: Collection[Document]) -> list[int]:
    """What has arrived."""
    return sorted(each["number"] for each in found.find({}, ["number"]))


def test_what_is_put_arrives_as_it_was(
    opened: Open, uri: str, predictions: Collection[Document], metrics: CollectorRegistry
) -> None:
    """Each in its collection, with an index for who looks for the newest; the metrics say how many."""
    outbox = opened(uri)
    outbox.put("feedback", {"_id": "f", "code": 10})
    for number in range(2500):
        outbox.put("predictions", prediction(number))
    until(lambda: outbox.waiting == 0)
    assert numbers(predictions) == list(range(2500))
    stored = predictions.find_one({"number": 7})
    assert stored is not None
    assert {**stored, "at": stored["at"].replace(tzinfo=UTC)} == prediction(7)
    assert predictions.database["feedback"].find_one() == {"_id": "f", "code": 10}
    assert "at_1" in predictions.index_information()
    value = metrics.get_sample_value
    assert value("api_outbox_stored_total", PREDICTIONS) == 2500
    assert value("api_outbox_stored_total", {"collection": "feedback"}) == 1
    assert (value("api_outbox_waiting"), value("api_outbox_lost_total")) == (0, 0)


def test_while_mongodb_is_away_documents_wait_and_the_next_outbox_sends_them(
    opened: Open,
    uri: str,
    predictions: Collection[Document],
    metrics: CollectorRegistry,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It says once that it is away, without the password; closing saves all and waits no longer than it was told."""
    caplog.set_level(logging.INFO, "api.outbox")
    away = opened(NOBODY)
    for number in range(500):
        away.put("predictions", prediction(number))
    until(lambda: "does not answer" in caplog.text)
    for number in range(500, 1500):
        away.put("predictions", prediction(number))
    assert metrics.get_sample_value("api_outbox_waiting") == 1500
    away.close(0.1)
    assert caplog.text.count("does not answer") == 1
    assert "1500 documents wait in API_SPOOL for the next start" in caplog.text
    assert "secret-of-nobody" not in caplog.text
    back = opened(uri, given=CollectorRegistry())
    assert back.waiting == 1500
    until(lambda: back.waiting == 0)
    assert numbers(predictions) == list(range(1500))


def test_closing_sends_what_it_can(
    opened: Open, uri: str, predictions: Collection[Document], metrics: CollectorRegistry
) -> None:
    """What was put a moment ago is in MongoDB when it has closed; what comes later is counted as lost."""
    outbox = opened(uri)
    for number in range(300):
        outbox.put("predictions", prediction(number))
    outbox.close(30)
    assert numbers(predictions) == list(range(300))
    outbox.put("predictions", prediction(300))
    assert metrics.get_sample_value("api_outbox_lost_total") == 1


@pytest.mark.parametrize("bound", [Bound(documents=1_500), Bound(bytes=900_000)], ids=["documents", "bytes"])
def test_what_is_over_the_bound_is_lost_counted_and_told_of_once(
    opened: Open, metrics: CollectorRegistry, caplog: pytest.LogCaptureFixture, bound: Bound
) -> None:
    """The oldest stay. One line, however many are lost."""
    outbox = opened(NOBODY, bound)
    for number in range(5000):
        outbox.put("predictions", prediction(number))
    outbox.close(0)
    lost = metrics.get_sample_value("api_outbox_lost_total")
    assert (outbox.waiting, lost) == (1000, 4000)
    told = [record.getMessage() for record in caplog.records if "lost" in record.getMessage()]
    assert 1 <= len(told) <= 2  # at once, and the rest in the end
    assert sum(int(line.split()[0]) for line in told) == 4000
    assert "API_SPOOL has reached its bound" in told[0]


def test_a_document_that_mongodb_refuses_is_kept_apart(
    opened: Open, uri: str, predictions: Collection[Document], metrics: CollectorRegistry, tmp_path: Path
) -> None:
    """It holds nobody up: one that is too large, and one that breaks an index of somebody's own."""
    predictions.create_index("number", unique=True)
    outbox = opened(uri)
    outbox.put("predictions", prediction(0))
    outbox.put("predictions", prediction(1, "a" * (17 << 20)))
    outbox.put("predictions", {**prediction(2), "number": 0})
    outbox.put("predictions", {**prediction(3), "number": object()})
    outbox.put("predictions", prediction(4))
    outbox.close(30)
    assert numbers(predictions) == [0, 4]
    assert metrics.get_sample_value("api_outbox_refused_total") == 2
    assert metrics.get_sample_value("api_outbox_lost_total") == 1  # BSON has no such type
    with sqlite3.connect(tmp_path / "spool" / "outbox.db") as spool:
        kept = spool.execute("SELECT length(document) > 1000000, reason FROM refused ORDER BY number").fetchall()
    spool.close()
    assert [large for large, _ in kept] == [1, 0]
    assert "16 MiB" in kept[0][1]


def test_a_user_that_mongodb_refuses_is_told_of_and_costs_no_document(
    opened: Open, uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong password is mended by a restart with the right one; until then documents wait."""
    outbox = opened(uri.replace(ESCAPED, "wrong-secret"))
    outbox.put("predictions", prediction(0))
    until(lambda: "refuses the user or the password: correct MONGODB_URI" in caplog.text)
    assert outbox.waiting == 1
    assert "wrong-secret" not in caplog.text


def test_an_answer_that_never_came_doubles_nothing(
    opened: Open, mongodb_address: str, uri: str, predictions: Collection[Document]
) -> None:
    """MongoDB took the documents, and the way back was cut: they are sent again, and are there once."""
    relay = Relay(mongodb_address, cut_after=100_000)
    try:
        outbox = opened(uri.replace(mongodb_address, relay.address))
        for number in range(2000):
            outbox.put("predictions", prediction(number))
        assert relay.reached.wait(60)
        relay.mend()
        until(lambda: outbox.waiting == 0)
    finally:
        relay.close()
    assert numbers(predictions) == list(range(2000))


def test_a_mongodb_that_says_nothing_keeps_nobody_from_ending(
    opened: Open, mongodb_address: str, uri: str, predictions: Collection[Document]
) -> None:
    """It holds the connection and answers no more: closing waits for as long as it was told, and the rest is saved."""
    relay = Relay(mongodb_address, hold_after=100_000)
    try:
        silent = opened(uri.replace(mongodb_address, relay.address))
        for number in range(2000):
            silent.put("predictions", prediction(number))
        assert relay.reached.wait(60)
        silent.close(0.1)
        outbox = opened(uri, given=CollectorRegistry())
        assert outbox.waiting
        until(lambda: outbox.waiting == 0)
    finally:
        relay.mend()
        relay.close()
    assert numbers(predictions) == list(range(2000))


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


def _a_file(spool: Path) -> None:
    spool.write_text("a file", encoding="utf-8")


def _newer(spool: Path) -> None:
    spool.mkdir()
    connection = sqlite3.connect(spool / "outbox.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def _damaged(spool: Path) -> None:
    spool.mkdir()
    (spool / "outbox.db").write_bytes(b"no database at all" * 1000)


def _torn(spool: Path) -> None:
    Spool(spool, Bound()).close()
    with (spool / "outbox.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_a_file, "cannot be written"),
        (_newer, "in version 99"),
        (_damaged, "damaged .*move its outbox.db away"),
        (_torn, "damaged"),
    ],
    ids=["file", "newer", "no database", "damaged"],
)
def test_a_spool_that_cannot_be_used_is_refused_before_anything_starts(
    tmp_path: Path, opened: Open, spoil: Callable[[Path], None], said: str
) -> None:
    """One line that says what to do."""
    spoil(tmp_path / "spool")
    with pytest.raises(SettingError, match=f"API_SPOOL=.*{said}"):
        opened(NOBODY)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, opened: Open) -> None:
    """A volume that belongs to root, say."""
    (tmp_path / "spool").mkdir(mode=0o500)
    with pytest.raises(SettingError, match="cannot be written"):
        opened(NOBODY)


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://admin:p@ss/w0rd@host:27017/catalog",
        "mongodb://",
        "mongodb://h:x/",
        "mongodb://h/?tlsCAFile=/no&tls=1",
    ],
)
def test_an_address_that_is_none_is_refused_without_its_password(opened: Open, uri: str) -> None:
    """At the start, in one line."""
    with pytest.raises(SettingError, match="MONGODB_URI") as refused:
        opened(uri)
    assert "p@ss" not in str(refused.value)
    assert "w0rd" not in str(refused.value)


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


@contextmanager
def mongodb(data: str, address: str) -> Iterator[str]:
    """A MongoDB that is the test's own, on data that outlive it; its URI."""
    settings = {
        "GIGOGNE_DATA_DIR": data,
        "GIGOGNE_ENGINE": "process",
        "COMPOSE_PROJECT_NAME": f"outbox{os.getpid()}",
        "BIND_ADDRESS": address,
        "MONGO_PASSWORD": PASSWORD,
    }
    up = subprocess.Popen(
        [sys.executable, "-m", "gigogne", "-f", "docker-compose-db.yml", "up", "--json", "mongodb"],
        cwd=REPOSITORY,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        text=True,
    )
    with healthy(up, "mongodb") as at:
        yield f"mongodb://admin:{ESCAPED}@{at['mongodb']}/catalog?authSource=admin"


def test_a_mongodb_that_stops_and_comes_back_has_everything(opened: Open, metrics: CollectorRegistry) -> None:
    """Stopped in the middle of traffic, started anew on its data, and at once it gets what was put in between."""
    address = f"127.{16 + secrets.randbelow(32)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"
    with tempfile.TemporaryDirectory(prefix="gigogne-outbox-", ignore_cleanup_errors=True) as data:
        Path(data).chmod(0o755)  # the server may run as nobody
        count = itertools.count()
        with mongodb(data, address) as uri:
            outbox = opened(uri)
            while not metrics.get_sample_value("api_outbox_stored_total", PREDICTIONS):
                outbox.put("predictions", prediction(next(count)))
                time.sleep(0.001)
        for _ in range(1000):
            outbox.put("predictions", prediction(next(count)))
        until(lambda: outbox.unsaved == 0)
        assert outbox.waiting >= 1000
        with mongodb(data, address) as uri, MongoClient[Document](uri) as client:
            until(lambda: outbox.waiting == 0)
            assert numbers(client.get_default_database()["predictions"]) == list(range(next(count)))


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
            with suppress(httpx.TransportError):  # it has ended
                while True:
                    answer = api.predict(f"roman {len(given)}")
                    given[answer.json()["id"]] = answer.json()["categories"][0]["code"]

        with ThreadPoolExecutor() as clients:
            for _ in range(4):
                clients.submit(ask)
            api.wait(lambda: len(given) > 100)
            assert api.end() == 0
    kept = {each["_id"]: each["categories"][0]["code"] for each in predictions.find()}
    assert given.items() <= kept.items()
