"""How the champion is followed. tests/stack/api/test_model.py and test_scorer_champion.py see it at work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from registry.champion import Version
from registry.watch import Failure


@pytest.mark.parametrize("times", [1, 2, 5, 100, 10_000])
def test_what_fails_is_tried_more_and_more_seldom(times: int) -> None:
    """A version that cannot be loaded waits twice as long each time, up to five minutes; another one does not."""
    made = datetime(2026, 11, 1, tzinfo=UTC)
    version, other = Version(1, "a", made, {}), Version(2, "b", made + timedelta(1), {})
    failure = Failure()
    for _ in range(times):
        failure = failure.again(version, "why")
    pause = min(10 * 2 ** min(times, 20), 300)
    assert failure.is_over(other, 10, now=failure.at)
    assert not failure.is_over(version, 10, now=failure.at + pause - 1)
    assert failure.is_over(version, 10, now=failure.at + pause + 1)
    assert failure.again(other, "why").times == 1
