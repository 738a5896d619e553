"""What the tests of `train_fraud` share: MLflow with its servers, the trainer in its own environment, and extracts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest
from tests.stack.fraud.scenes import objects
from tests.stack.trainer import Trainer, standing

from fraud.generator import Event, Generator
from fraud.names import EXPERIMENT, MODEL
from fraud.scenario.drift import Drift


class Stack(Trainer):
    """`python -m fraud.train_fraud`, and what it learns from."""

    MODULE, GROUP, DATABASE, BUCKET = "fraud.train_fraud", "fraud-train", "LOGGER_SQL_URI", "fraud-detection-2-bucket"
    MODEL, EXPERIMENT = MODEL, EXPERIMENT

    def put(self, bodies: Mapping[str, bytes], folder: str = "data") -> str:
        """Write the objects of an extract, its state last; the address of that."""
        for name, body in bodies.items():
            self.put_object(f"{folder}/{name}", body)
        return f"s3://{self.BUCKET}/{folder}/validated.json"

    def extract(self, events: list[Event], truth: dict[str, bool], folder: str = "data") -> str:
        """Write what `extractor_sql` writes of these events, of which this is known."""
        return self.put(objects(events, truth), folder)


@pytest.fixture(scope="session")
def up(install: Callable[[str], str]) -> Iterator[Stack]:
    """The servers, for a session."""
    with standing(Stack, install) as stack:
        yield stack


@pytest.fixture
def stack(up: Stack) -> Stack:
    """The servers without any model."""
    up.forget()
    return up


@pytest.fixture(scope="session")
def events() -> list[Event]:
    """Six days with five times as many frauds as there usually are: few rows are enough to learn from."""
    return list(Generator(42, Drift.parse("frauds:5@2025-01-01")).events(0, 15_000))


@pytest.fixture
def truth(events: list[Event]) -> dict[str, bool]:
    """All of their truth."""
    return {event.truth.trans_num: event.is_fraud for event in events}


def misled(events: list[Event], truth: dict[str, bool], held_out: Callable[[int], bool]) -> dict[str, bool]:
    """The same, but of the cards that a model learns from two frauds in three are called genuine, and others frauds."""
    said = dict(truth)
    for number, event in enumerate(events):
        if not held_out(event.transaction["cc_num"]):
            name = event.truth.trans_num
            said[name] = (number % 3 == 0) if truth[name] else number % 300 == 0
    return said
