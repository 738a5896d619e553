"""Mounts: what is there, what stays."""

from __future__ import annotations

import pytest
from tests.conformance.behaviour import Behaviour
from tests.conformance.behaviours import mounts, secrets
from tests.conformance.conftest import Conformance


@pytest.mark.parametrize("behaviour", (*mounts.BEHAVIOURS, *secrets.BEHAVIOURS), ids=str)
def test_mounts(behaviour: Behaviour, conformance: Conformance) -> None:
    """Mounted files arrive, and stay, where they do with Docker Compose."""
    conformance.holds(behaviour)
