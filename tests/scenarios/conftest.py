"""What scenarios on Docker share."""

from __future__ import annotations

import pytest
from tests.conftest import Workspace
from tests.scenarios.detached import another_engine
from tests.scenarios.docked import use_docker

from gigogne.engines.docker.engine import DockerEngine


@pytest.fixture
def project(workspace: Workspace) -> str:
    """The workspace's command uses Docker, under a project name that no other test has."""
    return use_docker(workspace)


@pytest.fixture
def engine() -> DockerEngine:
    """The engine of this process."""
    return another_engine()
