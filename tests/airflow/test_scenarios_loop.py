"""The whole loop on a running Airflow: served, drifted, alerted, retrained, promoted, served anew without a restart."""

from __future__ import annotations

import codecs
import csv
import json
import os
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.airflow.deployed import Deployed, Project
from tests.airflow.server import Airflow, wait_until
from tests.conftest import REPOSITORY, Workspace, healthy
from tests.stack.catalog.outcome import SERVERS, SETTINGS, run
from tests.stack.monitoring.conftest import observed

from data.generator import Generator

pytestmark = [pytest.mark.airflow, pytest.mark.prometheus, pytest.mark.timeout(900)]

Product = dict[str, str]


def shifted(number: int, seed: int = 5) -> list[dict[str, str]]:
    """Listings of a marketplace that has changed its language over night: every letter is another one."""
    generator = Generator(seed)
    made = [generator.listing(each) for each in range(number)]
    turned = ("designation", "description")
    return [{k: codecs.encode(v or "", "rot13") if k in turned else v or "" for k, v in each.items()} for each in made]


def write_csvs(folder: Path, listings: list[dict[str, str]]) -> dict[str, str]:
    """The listings as the two files that `extract` reads; the variables that name them."""
    names = {
        "LISTINGS_CSV": ("listings.csv", ("designation", "description", "productid", "imageid")),
        "LABELS_CSV": ("labels.csv", ("prdtypecode",)),
    }
    for name, columns in names.values():
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ("index", *columns), extrasaction="ignore")
            writer.writeheader()
            writer.writerows({**each, "index": str(row)} for row, each in enumerate(listings))
    return {variable: str(folder / name) for variable, (name, _) in names.items()}


def ask(address: str, path: str, body: Any = None) -> Any:
    """What the API answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{address}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


@dataclass
class Visitor:
    """Somebody who asks the API again and again.

    Attributes:
        versions: The versions of the model that answered, in their order.
        failures: What was no answer.
    """

    address: str
    versions: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    answers: int = 0

    def visit(self, over: threading.Event) -> None:
        """Ask until it is over."""
        while not over.wait(0.05):
            try:
                version = int(ask(self.address, "/predict", {"designation": "lot de livres"})["model"]["version"])
            except (OSError, ValueError, KeyError) as error:
                self.failures.append(repr(error))
                continue
            self.answers += 1
            if version not in self.versions[-1:]:
                self.versions.append(version)


@contextmanager
def visited(address: str) -> Iterator[Visitor]:
    """Somebody asks all the time."""
    visitor, over = Visitor(address), threading.Event()
    thread = threading.Thread(target=visitor.visit, args=(over,))
    thread.start()
    try:
        yield visitor
    finally:
        over.set()
        thread.join()


@pytest.fixture
def catalog(airflow: Airflow, request: pytest.FixtureRequest) -> Iterator[Deployed]:
    """The reference stack's own files as a DAG, under a name of its own."""
    deployed = Deployed(airflow, Project(REPOSITORY, f"loop-{uuid4().hex[:8]}"), "process")
    request.node.projects = [deployed]
    yield deployed
    deployed.clean()


def user_of(catalog: Deployed, settings: Mapping[str, str]) -> Workspace:
    """What a user has who types `gigogne` beside that Airflow."""
    data = catalog.airflow.environment["GIGOGNE_DATA_DIR"]
    named = {"COMPOSE_PROJECT_NAME": catalog.project.name, "GIGOGNE_ENGINE": "process", "GIGOGNE_DATA_DIR": data}
    return Workspace(REPOSITORY, {**settings, **named})


@pytest.mark.sandbox
def test_the_loop_closes(catalog: Deployed, tmp_path: Path) -> None:
    """What the API is asked has changed: an alert, a retraining, a better champion, and nobody was turned away."""
    address = f"127.9.{os.getpid() // 256 % 256}.{os.getpid() % 256}"
    settings = {
        **SETTINGS,
        "BIND_ADDRESS": address,
        "MONITORING_ADDRESS": address,
        "API_MODEL_POLL": "1",
        "AIRFLOW_URL": catalog.airflow.api.url,
        "RETRAIN_DAG": catalog.dag_id,
    }
    user = user_of(catalog, settings)
    # What the retraining reads: the listings from before, and the new ones with their categories.
    changed = {**settings, **write_csvs(tmp_path, shifted(1500))}
    env_file = tmp_path / "changed.env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in changed.items()), encoding="utf-8")
    catalog.publish(pipeline="catalog", env_files=[str(env_file)])
    servers = (*SERVERS, "api", "monitor")
    with user.start("up", "--json", *servers) as up, healthy(up, *servers) as at:
        run(user)
        wait_until(lambda: ask(at["api"], "/health/ready"), "the API is ready")
        began = process_started(at["api"])
        with visited(at["api"]) as visitor:
            wait_until(lambda: visitor.versions == [1], "the first champion answers")
            products = [{k: each[k] for k in ("designation", "description")} for each in shifted(600, 9)]
            ask(at["api"], "/predict/batch", {"products": products})
            drift = user.run("run", "--pipeline", "catalog-drift", "--json")
            assert drift.returncode == 0, drift.stdout[-3000:] + drift.stderr
            replaced = {"api:8000": at["api"], "monitor:8001": at["monitor"]}
            with observed(replaced) as monitoring:
                wait_until(lambda: monitoring.firing() & {"TextDrift", "PredictionDrift"}, "drift is alerted", 60)
                wait_until(lambda: visitor.versions == [1, 2], "the new champion answers", 300)
        assert visitor.failures == [] and visitor.answers > 100
        assert process_started(at["api"]) == began
    user.run("down", "-v")


def process_started(address: str) -> str:
    """When the API's process was started, as it says itself."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
        lines: list[str] = answer.read().decode().splitlines()
    return next(line for line in lines if line.startswith("process_start_time_seconds"))
