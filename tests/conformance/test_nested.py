"""The same behaviours in a host container: with the engine outside it, and with one inside.

The gate tries one in twenty, CI_LEVEL=full all.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.conformance.behaviour import Behaviour
from tests.conformance.conftest import Conformance, sample
from tests.conformance.nested import NestedInside, NestedOutside, nested_inside

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def inside() -> Iterator[NestedInside]:
    """One host container with an engine of its own, for all behaviours."""
    with nested_inside() as way:
        yield way


@pytest.mark.parametrize("behaviour", sample(20), ids=str)
def test_outside(behaviour: Behaviour) -> None:
    """Two containers beside each other: the mounts are translated, the variables arrive."""
    Conformance(NestedOutside()).holds(behaviour)


@pytest.mark.parametrize("behaviour", sample(20), ids=str)
def test_inside(behaviour: Behaviour, inside: NestedInside) -> None:
    """A container in a container: nothing is translated, and nothing is lost."""
    Conformance(inside).holds(behaviour)
