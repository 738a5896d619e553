"""Outboxes on a spool and a database of the test's own."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pymongo import MongoClient
from pymongo.collection import Collection
from tests.stack.conftest import ESCAPED

from api.outbox import Bound, Outbox

Document = dict[str, Any]
NOBODY = "mongodb://admin:secret-of-nobody@127.0.0.1:9/catalog"
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
