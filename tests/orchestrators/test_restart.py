"""Docker's restart policies, as decisions."""

from __future__ import annotations

import pytest

from gigogne.core.model import Kind
from gigogne.orchestrators.restart import RestartPolicy


def pauses(policy: RestartPolicy, *ends: tuple[int, float]) -> list[float | None]:
    """What the policy says to each end, an exit code and the seconds lived."""
    return [policy.pause(code, lived) for code, lived in ends]


@pytest.mark.parametrize(
    ("policy", "kind", "code", "again"),
    [
        ("no", Kind.SERVER, 1, False),
        ("no", Kind.JOB, 1, False),
        ("always", Kind.SERVER, 0, True),
        ("always", Kind.SERVER, 1, True),
        ("unless-stopped", Kind.SERVER, 0, True),
        ("on-failure", Kind.SERVER, 0, False),
        ("on-failure", Kind.JOB, 3, True),
        ("on-failure", Kind.JOB, 0, False),
        ("always", Kind.JOB, 0, False),
        ("always", Kind.JOB, 1, True),
    ],
)
def test_who_is_started_again(policy: str, kind: Kind, code: int, again: bool) -> None:
    """A server by its policy alone; a job that has succeeded is done, whatever the policy says."""
    assert (RestartPolicy(policy, kind, patient=True).pause(code, 1.0) is not None) is again


def test_the_pause_doubles_up_to_a_minute_and_begins_anew() -> None:
    """A tenth of a second, twice that …; a life of ten seconds forgets the ends before it."""
    policy = RestartPolicy("always", Kind.SERVER, patient=True)
    assert pauses(policy, *[(1, 0.0)] * 4) == [0.1, 0.2, 0.4, 0.8]
    assert pauses(policy, (1, 12.0), (1, 0.0)) == [0.1, 0.2]
    assert pauses(policy, *[(1, 0.0)] * 20)[-1] == 60.0


def test_on_failure_counts_all_restarts() -> None:
    """`on-failure:2` is three tries in all, however long each lived."""
    assert pauses(RestartPolicy("on-failure:2", Kind.JOB, patient=False), (3, 50.0), (3, 50.0), (3, 50.0)) == [
        0.1,
        0.1,
        None,
    ]


def test_who_waits_for_the_end_does_not_wait_for_ever() -> None:
    """In `run` seven restarts in a row are enough; `up` goes on."""
    assert pauses(RestartPolicy("always", Kind.SERVER, patient=False), *[(1, 0.0)] * 8)[-1] is None
    assert pauses(RestartPolicy("always", Kind.SERVER, patient=True), *[(1, 0.0)] * 8)[-1] is not None
