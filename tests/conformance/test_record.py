"""The record of the results, and its page."""

from __future__ import annotations

from tests.conformance.behaviours import THEMES
from tests.conformance.report import PAGE, page
from tests.conformance.results import Record, Verdict

BEHAVIOURS = [behaviour for behaviours in THEMES.values() for behaviour in behaviours]


def test_the_page_shows_the_record() -> None:
    """The page in the repository is the one that the record makes, to the letter."""
    assert PAGE.read_text(encoding="utf-8") == page(Record.read()), "python -m tests.conformance.report"


def test_every_behaviour_is_recorded_once() -> None:
    """No behaviour is without a result, none shares its name, and the record has no others."""
    names = [behaviour.name for behaviour in BEHAVIOURS]
    assert len(names) == len(set(names)) >= 40
    assert list(Record.read().observed) == names


def test_nothing_differs_silently() -> None:
    """A way gives what the judge gives, or says that it does not."""
    outcomes = Record.read().outcomes
    silent = [(n, way) for n, each in outcomes.items() for way, o in each.items() if o.verdict is Verdict.DIFFERENT]
    assert silent == []


def test_no_excuse_is_left_over() -> None:
    """A behaviour says of a way that it is told to differ only where it does."""
    outcomes = Record.read().outcomes
    told = {(b.name, way) for b in BEHAVIOURS for way in b.told}
    assert told == {(n, way) for n, each in outcomes.items() for way, o in each.items() if o.verdict is Verdict.TOLD}
