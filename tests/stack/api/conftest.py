"""The API as a process, before a registry whose faults can be asked for."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import requests
from tests.conftest import REPOSITORY
from tests.stack.catalog.test_model import make_examples
from tests.stack.conftest import environment
from tests.stack.web.served import NOWHERE, PASSWORD, USER, Client, Served, StandIn

from catalog.classifier import Classifier
from ml.fitting import fit

__all__ = ["PASSWORD", "USER", "Api", "Client", "StandIn", "StartApi"]


class Api(Served):
    """`python -m api.server`, and a client of it."""

    def predict(self, designation: str = "roman livre", **more: Any) -> requests.Response:
        """Ask for the categories of a product."""
        return self.client.post("/predict", json={"designation": designation, **more})


StartApi = Callable[..., AbstractContextManager[Api]]


@contextmanager
def serving(**variables: object) -> Iterator[Api]:
    """An API with these variables; without others it has no registry, no MongoDB, and hardly a limit."""
    with tempfile.TemporaryDirectory(prefix="gigogne-api-", ignore_cleanup_errors=True) as spool:
        settings = {
            "API_PORT": 0,
            "API_SPOOL": spool,
            "API_USERS_FILE": REPOSITORY / "docker/api/users",
            "API_RATE": 1e6,
            "API_BURST": 1_000_000,
            "API_MODEL_POLL": 0.1,
            "API_DRAIN": 0.5,
            "MLFLOW_TRACKING_URI": f"http://{NOWHERE}",
            "MONGODB_URI": f"mongodb://{NOWHERE}/catalog",
        }
        command = [sys.executable, "-m", "api.server"]
        given = environment(**{**settings, **variables})
        process = subprocess.Popen(command, env=given, stderr=subprocess.PIPE, text=True)
        try:
            api = Api(process)
        except AssertionError:
            process.kill()
            process.communicate()
            raise
        try:
            yield api
        finally:
            api.close()


@pytest.fixture(scope="session")
def classifiers() -> tuple[Classifier, Classifier]:
    """Two small classifiers, trained on different examples of the same three categories."""
    one, other = (fit(make_examples(150, seed=seed), lambda line: None)[0] for seed in (0, 1))
    return one, other


@pytest.fixture
def registry() -> Iterator[StandIn]:
    """A registry without a champion."""
    made = StandIn()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def served(classifiers: tuple[Classifier, Classifier]) -> Iterator[Api]:
    """An API with a champion, for all tests of a module that leave it as it is."""
    made = StandIn()
    made.promote(classifiers[0])
    with serving(MLFLOW_TRACKING_URI=made.url) as api:
        api.serves(1)
        yield api
    made.stop()


@pytest.fixture
def start_api() -> StartApi:
    """Starts an API with variables of one's own, for as long as its context holds."""
    return serving
