"""Jobs: what is run, as whom, how it ends, what it said."""

from __future__ import annotations

import pytest
from tests.conformance.behaviour import Behaviour
from tests.conformance.behaviours import commands, endings, users
from tests.conformance.conftest import Conformance


@pytest.mark.parametrize("behaviour", (*commands.BEHAVIOURS, *endings.BEHAVIOURS, *users.BEHAVIOURS), ids=str)
def test_jobs(behaviour: Behaviour, conformance: Conformance) -> None:
    """Commands, users, codes and output are those of Docker Compose."""
    conformance.holds(behaviour)
