"""The outbox: nothing that it took is lost or doubled while MongoDB comes and goes; what it cannot keep is counted."""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from pymongo import MongoClient
from pymongo.collection import Collection
from tests.conftest import REPOSITORY, healthy
from tests.stack.api.outbox.conftest import NOBODY, PREDICTIONS, Document, Open, numbers, prediction, until
from tests.stack.catalog.conftest import Relay
from tests.stack.conftest import ESCAPED, PASSWORD

from api import outbox as outbox_module
from api.outbox import Bound


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


def test_large_documents_do_not_fill_the_memory(
    opened: Open, metrics: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for the disk is bounded by size too; when it is saved, there is room again."""
    monkeypatch.setattr(outbox_module, "MOST_UNSAVED_BYTES", 1 << 20)
    outbox = opened(NOBODY)
    with outbox._spool._lock:  # the disk takes its time
        for number in range(40):
            outbox.put("predictions", prediction(number, "a" * 100_000))
    assert metrics.get_sample_value("api_outbox_lost_total") == 29
    until(lambda: outbox.unsaved == 0)
    outbox.put("predictions", prediction(40, "a" * 100_000))
    until(lambda: outbox.unsaved == 0)
    assert outbox.waiting == 12


def test_a_disk_that_does_not_answer_keeps_nobody_from_ending(
    opened: Open, metrics: CollectorRegistry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for for a while; what it did not take is counted and told of."""
    monkeypatch.setattr(outbox_module, "LAST_SAVE_SECONDS", 0.2)
    outbox = opened(NOBODY)
    with outbox._spool._lock:
        outbox.put("predictions", prediction(0))
        outbox.close(0.1)
    assert "1 documents are lost: the disk of API_SPOOL does not answer" in caplog.text
    assert metrics.get_sample_value("api_outbox_lost_total") == 1
    outbox._saver.join()
    outbox._spool.close()


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
