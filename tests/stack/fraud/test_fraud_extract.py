"""What the trainer reads: an extract that is whole, or one line that says what is wrong with it; from a real S3."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.stack.conftest import S3

from fraud.generator import Event, Generator
from fraud.training import extract
from fraud.training.extract import fetch
from job.errors import JobError
from job.storage import Storage

from .scenes import objects
from .transactions import transaction

Put = Callable[..., str]


@pytest.fixture(scope="module")
def events() -> list[Event]:
    """A day."""
    return list(Generator(42).events(0, 2500))


@pytest.fixture
def bodies(events: list[Event]) -> dict[str, bytes]:
    """The objects of an extract in which half is confirmed."""
    return objects(events, truth_of(events[::2]))


@pytest.fixture
def put(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Writes objects to S3, the state last; the address of that. This process finds the same S3."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    storage = Storage()

    def write(bodies: dict[str, bytes], folder: str) -> str:
        for name, body in bodies.items():
            storage.put(f"s3://{s3.bucket}/{folder}/{name}", body, "text/plain")
        return f"s3://{s3.bucket}/{folder}/validated.json"

    return write


def truth_of(events: list[Event]) -> dict[str, bool]:
    """All that is to be known of some events."""
    return {event.truth.trans_num: event.is_fraud for event in events}


def damaged(bodies: dict[str, bytes], name: str, other: Any) -> dict[str, bytes]:
    """The objects, one of them in another way, with a state that knows it (of the state itself: changed)."""
    state = json.loads(bodies["validated.json"])
    if name == "validated.json":
        return {**bodies, name: json.dumps(other(state)).encode()}
    changed = {**bodies, name: other(bodies[name])}
    state[name.partition(".")[0]]["sha256"] = hashlib.sha256(changed[name]).hexdigest()
    return {**changed, "validated.json": json.dumps(state).encode()}


def test_an_extract_is_read_as_it_was_written(put: Put, events: list[Event], bodies: dict[str, bytes]) -> None:
    """Every number to its last digit, and the truth of those that are confirmed."""
    found = fetch(Storage(), put(bodies, "whole"))
    transactions, truth = found.read()
    assert transactions == [transaction(event) for event in events] and truth == truth_of(events[::2])
    assert found.state.newest == events[-1].at.isoformat() and len(found.sha256) == 64


@pytest.mark.parametrize(
    ("name", "other", "said"),
    [
        ("validated.json", lambda state: {**state, "history": {}}, "is no state of an extract: it has no 'object'"),
        ("validated.json", lambda state: [state], "is no state of an extract: it is not JSON with the keys of one"),
        ("history.csv", lambda body: body.replace(b"city_pop", b"people", 1), "history.csv has no column city_pop"),
        ("history.csv", lambda body: body[:-30], "history.csv line 2501:"),
        ("history.csv", lambda body: body.replace(b"2025-01-01", b"2025-13-01", 1), "month must be in 1..12"),
        ("history.csv", lambda body: b"\n".join(body.split(b"\n")[:-300]) + b"\n", "are not in s3://"),
        ("validated.csv", lambda body: body.replace(b"False", b"perhaps", 1), "'perhaps', neither True nor False"),
        ("validated.csv", lambda body: body + b"\xff\n", "can't decode byte 0xff"),
    ],
)
def test_objects_that_hold_something_else_are_named(
    put: Put, bodies: dict[str, bytes], name: str, other: Any, said: str
) -> None:
    """A state of another shape, columns that are not there, lines cut short, values of another kind."""
    address = put(damaged(bodies, name, other), "damaged")
    with pytest.raises(JobError) as refused:
        fetch(Storage(), address).read()
    assert said in str(refused.value) and "run extractor_sql again" in str(refused.value)


def test_an_extract_that_is_being_replaced_is_waited_for(
    put: Put, events: list[Event], bodies: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While its objects are of two extracts the trainer looks again, and learns from a whole one alone."""
    monkeypatch.setattr(extract, "PAUSE", 0.2)
    old = objects(events[:1000], truth_of(events[:500]))
    address = put({**old, "history.csv": bodies["history.csv"]}, "changing")
    later = threading.Timer(0.3, put, [bodies, "changing"])
    later.start()
    assert len(fetch(Storage(), address).read()[0]) == 2500
    later.join()
    put({**bodies, "validated.csv": old["validated.csv"]}, "changing")
    with pytest.raises(JobError, match=r"changing/validated.csv is not what .* \(SHA-256\): run extractor_sql again"):
        fetch(Storage(), address)


def test_what_is_not_there_is_named(put: Put, bodies: dict[str, bytes], s3: S3) -> None:
    """No extract at all, and a state whose objects are gone."""
    with pytest.raises(JobError, match=r"there is no s3://.*/nothing/validated.json .*: run extractor_sql first"):
        fetch(Storage(), f"s3://{s3.bucket}/nothing/validated.json")
    address = put({"validated.json": bodies["validated.json"]}, "alone")
    with pytest.raises(JobError, match=r"there is no s3://.*/alone/validated.csv .*, which .* names: run"):
        fetch(Storage(), address)
