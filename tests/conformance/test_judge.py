"""The judge: does Docker Compose still do what the record says of it?

The gate asks about every fourth behaviour, and CI_LEVEL=full about all. The docker engine is held to the record in all
of them, and it has Docker Compose do the work.
"""

from __future__ import annotations

import pytest
from tests.conformance import judge
from tests.conformance.behaviour import Behaviour
from tests.conformance.conftest import AGAIN, recorded, sample

pytestmark = pytest.mark.docker


@pytest.mark.parametrize("behaviour", sample(4), ids=str)
def test_the_judge_sees_what_is_recorded(behaviour: Behaviour) -> None:
    """Plain Docker Compose gives the codes, the lines and the files that every way is held to."""
    _, expected = recorded(behaviour)
    assert judge.observe(behaviour) == expected, AGAIN.format(behaviour.name)
