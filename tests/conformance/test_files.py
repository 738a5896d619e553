"""Compose files and variables: what they say, whoever reads them."""

from __future__ import annotations

import pytest
from tests.conformance.behaviour import Behaviour
from tests.conformance.behaviours import composition, env_files, environment
from tests.conformance.conftest import Conformance


@pytest.mark.parametrize(
    "behaviour", (*composition.BEHAVIOURS, *env_files.BEHAVIOURS, *environment.BEHAVIOURS), ids=str
)
def test_files_and_variables(behaviour: Behaviour, conformance: Conformance) -> None:
    """Layers, formats and several files mean what they mean to Docker Compose."""
    conformance.holds(behaviour)
