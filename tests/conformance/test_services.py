"""Services together: conditions, health, restarts, signals, names and ports."""

from __future__ import annotations

import pytest
from tests.conformance.behaviour import Behaviour
from tests.conformance.behaviours import conditions, network
from tests.conformance.conftest import Conformance


@pytest.mark.parametrize("behaviour", (*conditions.BEHAVIOURS, *network.BEHAVIOURS), ids=str)
def test_services(behaviour: Behaviour, conformance: Conformance) -> None:
    """Services wait for each other, reach each other and stop as they do with Docker Compose."""
    conformance.holds(behaviour)
