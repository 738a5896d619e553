"""The scorer as a process, before a real PostgreSQL and a registry whose faults can be asked for."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from sklearn.ensemble import HistGradientBoostingClassifier
from tests.conftest import REPOSITORY
from tests.stack.conftest import environment
from tests.stack.fraud.conftest import new_database
from tests.stack.web.served import NOWHERE, Served, StandIn

from fraud.features import features_of
from fraud.generator import Generator
from fraud.model import Detector
from fraud.scoring.said import read, transaction
from fraud.training.fitting import detector_of

Record = dict[str, Any]

THRESHOLD = 0.1


def record(number: int, **changed: Any) -> Record:
    """A generated transaction, with some of its columns changed; nobody has predicted anything of it."""
    made = {**GENERATOR.transaction(number), **changed}
    del made["is_fraud"]
    return made


GENERATOR = Generator(7)


def series(card: int, count: int, minutes: int = 7) -> list[Record]:
    """Transactions of one card, some minutes apart: it is busier than people are."""
    begin = datetime(2025, 2, 1)
    return [
        record(
            number,
            cc_num=card,
            trans_num=f"{card}-{number}",
            trans_date_trans_time=str(begin + timedelta(minutes=minutes * number)),
        )
        for number in range(count)
    ]


def expected(detector: Detector, records: list[Record]) -> dict[str, float]:
    """What the detector says of transactions, by the features as training computes them."""
    rows = dict(features_of(transaction(read(json.dumps(each).encode())) for each in records))
    scores = detector.score(list(rows.values()))
    return {row.trans_num: float(score) for row, score in zip(rows, scores, strict=True)}


class Scorer(Served):
    """`python -m fraud.scoring.server`, and a client of it."""

    def score(self, given: Record) -> requests.Response:
        """Ask about a transaction."""
        return self.client.post("/transactions", json=given)

    def confirm(self, *given: tuple[str, bool, str]) -> requests.Response:
        """Say the truth about transactions, as the user of the default file."""
        told = [dict(zip(("trans_num", "is_fraud", "confirmed_at"), each, strict=True)) for each in given]
        header = {"Authorization": f"Bearer {self.token()}"}
        return self.client.post("/confirmations", json={"confirmations": told}, headers=header)


StartScorer = Callable[..., AbstractContextManager[Scorer]]


@contextmanager
def scoring(**variables: object) -> Iterator[Scorer]:
    """A scorer with these variables; without others it has no registry, no PostgreSQL, and hardly a limit."""
    with ExitStack() as opened:
        if "LANDING_DIR" not in variables:
            variables["LANDING_DIR"] = opened.enter_context(tempfile.TemporaryDirectory(prefix="gigogne-scorer-"))
        settings = {
            "SCORER_PORT": 0,
            "SCORER_USERS_FILE": REPOSITORY / "docker/fraud/scorer/users",
            "SCORER_RATE": 1e6,
            "SCORER_BURST": 1_000_000,
            "SCORER_MODEL_POLL": 0.1,
            "SCORER_DRAIN": 0.5,
            "MLFLOW_TRACKING_URI": f"http://{NOWHERE}",
            "LOGGER_SQL_URI": f"postgresql://nobody@{NOWHERE}/none",
        }
        command, given = [sys.executable, "-m", "fraud.scoring.server"], environment(**{**settings, **variables})
        process = subprocess.Popen(command, env=given, stderr=subprocess.PIPE, text=True)
        try:
            scorer = Scorer(process)
        except AssertionError:
            process.kill()
            process.communicate()
            raise
        opened.callback(scorer.close)
        yield scorer


class Wire:
    """The way to a server, which can be cut."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._to, self._port = (host, int(port)), 0
        self._open: list[socket.socket] = []
        self.mend()

    @property
    def address(self) -> str:
        """This end of it."""
        return f"127.0.0.1:{self._port}"

    def mend(self) -> None:
        """Let through, at the same address as ever."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """End every connection, and refuse others."""
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open = []

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                here, _ = listener.accept()
                there = socket.create_connection(self._to)
                self._open += [here, there]
                for ends in ((here, there), (there, here)):
                    threading.Thread(target=_carry, args=ends, daemon=True).start()


def _carry(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while part := one.recv(65_536):
            other.sendall(part)
        other.shutdown(socket.SHUT_WR)


def fitted(seed: int) -> Detector:
    """A small detector of scikit-learn's trees, whose scores depend on many features; an alarm is not rare with it."""
    rows = np.array(
        [row for _, row in features_of(transaction(read(json.dumps(record(n)).encode())) for n in range(900))]
    )
    chance = np.random.default_rng(seed)
    weights = chance.normal(size=rows.shape[1])
    order = np.nan_to_num(rows / np.maximum(np.nanmax(np.abs(rows), axis=0), 1e-9), nan=0.5) @ weights
    labels = order + chance.normal(scale=0.1, size=len(rows)) > np.quantile(order, 0.7)
    return detector_of(
        HistGradientBoostingClassifier(max_iter=20, random_state=seed).fit(rows, labels), threshold=THRESHOLD
    )


@pytest.fixture(scope="session")
def detectors() -> tuple[Detector, Detector]:
    """Two small detectors, trained on different frauds."""
    return fitted(2), fitted(3)


@pytest.fixture
def registry() -> Iterator[StandIn]:
    """A registry without a champion."""
    made = StandIn()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def served(
    detectors: tuple[Detector, Detector], postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scorer]:
    """A scorer with a champion and an empty table, for all tests of a module that leave it as it is."""
    made = StandIn()
    made.promote(detectors[0])
    with (
        new_database(postgres_url) as database,
        scoring(
            MLFLOW_TRACKING_URI=made.url, LOGGER_SQL_URI=database, LANDING_DIR=tmp_path_factory.mktemp("landing")
        ) as scorer,
    ):
        scorer.serves(1)
        yield scorer
    made.stop()


@pytest.fixture
def start_scorer() -> StartScorer:
    """Starts a scorer with variables of one's own, for as long as its context holds."""
    return scoring


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A landing folder that is not there yet."""
    return tmp_path / "landing"
