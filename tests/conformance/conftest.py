"""The ways as fixtures: those that this machine has not are skipped by name."""

from __future__ import annotations

import functools
import os
import sys
import zlib

import pytest
from tests.conformance.behaviour import Behaviour, Observation
from tests.conformance.behaviours import THEMES
from tests.conformance.results import Record, Verdict, circumstances, judged
from tests.conformance.ways import OnDocker, OnProcess, Way

__all__ = ["AGAIN", "Conformance", "recorded", "sample"]

AGAIN = "python -m tests.conformance.report {0} makes the record anew, if that is right"
"""What to do where the record is not what is seen."""


class Conformance:
    """A way, and the record that it is held to."""

    def __init__(self, way: Way) -> None:
        self._way = way

    def holds(self, behaviour: Behaviour) -> None:
        """The way does what it did before, and nothing else than the judge without a word."""
        record, expected = recorded(behaviour)
        outcome = judged(behaviour, self._way.name, expected, self._way.observe(behaviour))
        assert outcome.verdict is not Verdict.DIFFERENT, f"{expected} by the judge, but {outcome.why}"
        if record.circumstances == circumstances():
            assert outcome == record.outcomes[behaviour.name].get(self._way.name), AGAIN.format(behaviour.name)


def recorded(behaviour: Behaviour) -> tuple[Record, Observation]:
    """The record, and what the judge saw of this behaviour when it was made."""
    record = _record()
    assert behaviour.name in record.observed, AGAIN.format(behaviour.name)
    return record, record.observed[behaviour.name]


def sample(share: int) -> list[Behaviour]:
    """One in so many of all behaviours, always the same ones; all of them with CI_LEVEL=full."""
    found = [behaviour for behaviours in THEMES.values() for behaviour in behaviours]
    if os.environ.get("CI_LEVEL") == "full":
        return found
    return [behaviour for behaviour in found if zlib.crc32(behaviour.name.encode()) % share == 0]


@functools.cache
def _record() -> Record:
    return Record.read()


@pytest.fixture(
    params=[
        pytest.param("sandbox", marks=pytest.mark.sandbox),
        "portable",
        pytest.param("docker", marks=pytest.mark.docker),
    ]
)
def conformance(request: pytest.FixtureRequest) -> Conformance:
    """Each of the ways, one test after the other."""
    name = str(request.param)
    if name == "portable" and sys.platform == "win32":
        pytest.skip("the behaviours are shown by commands of Unix")
    if name == "portable" and os.environ.get("GIGOGNE_TEST_NO_USERNS") and os.environ.get("CI_LEVEL") != "full":
        pytest.skip("CI has tried this way with user namespaces there; CI_LEVEL=full tries it without them, too")
    return Conformance(OnDocker() if name == "docker" else OnProcess(name))
