"""The ways as fixtures: those that this machine has not are skipped by name."""

from __future__ import annotations

import functools
import os
import sys

import pytest
from tests.conformance import judge
from tests.conformance.behaviour import Behaviour
from tests.conformance.results import Record, Verdict, circumstances, judged
from tests.conformance.ways import OnDocker, OnProcess, Way

__all__ = ["Conformance"]

_AGAIN = "python -m tests.conformance.report {0} makes the record anew, if that is right"


class Conformance:
    """The judge, or one of the ways; `holds` compares it with the record."""

    def __init__(self, way: Way | None) -> None:
        self._way = way

    def holds(self, behaviour: Behaviour) -> None:
        """The judge sees what it saw before; a way does what it did before, and nothing else without a word."""
        record, again = _record(), _AGAIN.format(behaviour.name)
        expected = record.observed.get(behaviour.name)
        assert expected is not None, f"{behaviour} is not recorded: {again}"
        if self._way is None:
            assert judge.observe(behaviour) == expected, again
            return
        outcome = judged(behaviour, self._way.name, expected, self._way.observe(behaviour))
        assert outcome.verdict is not Verdict.DIFFERENT, f"{expected} by the judge, but {outcome.why}"
        if record.circumstances == circumstances():
            assert outcome == record.outcomes[behaviour.name].get(self._way.name), again


@functools.cache
def _record() -> Record:
    return Record.read()


@pytest.fixture(
    params=[
        pytest.param("judge", marks=pytest.mark.docker),
        pytest.param("sandbox", marks=pytest.mark.sandbox),
        "portable",
        pytest.param("docker", marks=pytest.mark.docker),
    ]
)
def conformance(request: pytest.FixtureRequest) -> Conformance:
    """The judge and each of the ways, one test after the other."""
    name = str(request.param)
    if name == "portable" and sys.platform == "win32":
        pytest.skip("the behaviours are shown by commands of Unix")
    if name == "portable" and os.environ.get("GIGOGNE_TEST_NO_USERNS") and os.environ.get("CI_LEVEL") != "full":
        pytest.skip("CI has tried this way with user namespaces there; CI_LEVEL=full tries it without them, too")
    ways = {"judge": None, "sandbox": OnProcess("sandbox"), "portable": OnProcess("portable"), "docker": OnDocker()}
    return Conformance(ways[name])
