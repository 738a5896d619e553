"""The whole loop on a running Airflow: served, drifted, alerted, retrained, promoted, served anew without a restart."""

from __future__ import annotations

import codecs
import csv
import json
import os
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from tests.airflow.deployed import Deployed, Project
from tests.airflow.server import Airflow, wait_until
from tests.conftest import REPOSITORY, Workspace, healthy
from tests.stack.catalog.outcome import SERVERS, SETTINGS, run
from tests.stack.conftest import copy_stack
from tests.stack.monitoring.conftest import Observed, observed, rewritten

from data.generator import Generator
from gigogne.compose.binary import compose_binary
from gigogne.engines.docker.connection import connect
from gigogne.engines.process.embedded.relay import accept_for

BUILT = ("extract", "transform", "cleaning", "train", "mlflow-server", "api", "monitor", "drift")

pytestmark = [pytest.mark.airflow, pytest.mark.prometheus, pytest.mark.timeout(900)]


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


@dataclass(frozen=True)
class Stack:
    """The reference stack, up beside a running Airflow that has its pipeline as a DAG.

    Attributes:
        user: Who types `gigogne` beside that Airflow.
        api: Where the API is.
        watch: Prometheus and Alertmanager, for as long as they are needed.
    """

    user: Workspace
    api: str
    watch: Callable[[], AbstractContextManager[Observed]]

    def ask(self, path: str, body: Any = None) -> Any:
        """What the API answers."""
        return ask(self.api, path, body)

    def is_ready(self) -> bool:
        """Whether there is a model."""
        try:
            return bool(self.ask("/health/ready"))
        except urllib.error.HTTPError as error:
            error.close()
            return False

    def started(self) -> str:
        """When the API's process was started, as it says itself."""
        with urllib.request.urlopen(f"http://{self.api}/metrics", timeout=30) as answer:
            lines: list[str] = answer.read().decode().splitlines()
        return next(line for line in lines if line.startswith("process_start_time_seconds"))


@contextmanager
def by_processes(user: Workspace) -> Iterator[Stack]:
    """The stack without Docker; Prometheus and Alertmanager are programs of this machine."""
    servers = (*SERVERS, "api", "monitor")
    with user.start("up", "--json", *servers) as up, healthy(up, *servers) as at:
        yield Stack(user, at["api"], lambda: observed({"api:8000": at["api"], "monitor:8001": at["monitor"]}))


@contextmanager
def by_containers(user: Workspace) -> Iterator[Stack]:
    """The stack in Docker."""
    servers = (*SERVERS, "api", "monitor", "prometheus", "alertmanager")
    with user.start("up", "--json", *servers) as up, healthy(up, *servers):
        address = user.environment["BIND_ADDRESS"]
        seen = Observed(f"http://{address}:9090", f"http://{address}:9093")
        yield Stack(user, f"{address}:8000", lambda: nullcontext(seen))


@contextmanager
def reached_from_containers(airflow: Airflow) -> Iterator[str]:
    """The address at which containers reach an Airflow that listens on this machine alone."""
    with closing(connect()) as client:
        (bridge,) = client.networks.get("bridge").attrs["IPAM"]["Config"]
    with socket.create_server((bridge["Gateway"], 0)) as listener:
        target = f"tcp:{airflow.api.url.removeprefix('http://')}"
        threading.Thread(target=accept_for, args=(listener, target), daemon=True).start()
        host, port = listener.getsockname()
        yield f"http://{host}:{port}"


def build(user: Workspace, *services: str) -> None:
    """Make the images, which may take minutes."""
    command = [str(compose_binary()), "--profile", "*", "build", *services]
    environment = {**os.environ, **user.environment}
    done = subprocess.run(command, cwd=user.folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def hurry(folder: Path) -> None:
    """Have a checkout's Prometheus look often, and its alerts fire and be sent at once."""
    for file in (folder / "docker" / "monitoring").rglob("*.yml"):
        written = yaml.safe_load(file.read_text(encoding="utf-8"))
        file.write_text(yaml.safe_dump(rewritten(written, {}, hurry=True)), encoding="utf-8")


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def stack(request: pytest.FixtureRequest, airflow: Airflow, tmp_path: Path) -> Iterator[Stack]:
    """The stack on either engine, its pipeline as a DAG whose next run finds listings in another language."""
    name, open_ = f"loop-{uuid4().hex[:8]}", ExitStack()
    in_docker, folder, url = request.param == "docker", REPOSITORY, airflow.api.url
    with open_:
        if in_docker:
            folder = tmp_path / "checkout"
            folder.mkdir()
            copy_stack(folder, name)
            hurry(folder)
            url = open_.enter_context(reached_from_containers(airflow))
        deployed = Deployed(airflow, Project(folder, name), request.param)
        request.node.projects = [deployed]
        open_.callback(deployed.clean)
        address = f"127.9.{os.getpid() // 256 % 256}.{os.getpid() % 256}"
        settings = {
            **SETTINGS,
            "BIND_ADDRESS": address,
            "MONITORING_ADDRESS": address,
            "API_MODEL_POLL": "1",
            "MONITOR_POLL": "1",
            "AIRFLOW_URL": url,
            "RETRAIN_DAG": deployed.dag_id,
        }
        changed = {**settings, **write_csvs(tmp_path, shifted(1500))}
        env_file = tmp_path / "changed.env"
        env_file.write_text("".join(f"{name}={value}\n" for name, value in changed.items()), encoding="utf-8")
        deployed.publish(pipeline="catalog", env_files=[str(env_file)])
        airflow.api.ask("PATCH", f"/dags/{deployed.dag_id}", {"is_paused": False})
        data = airflow.environment["GIGOGNE_DATA_DIR"]
        named = {"COMPOSE_PROJECT_NAME": name, "GIGOGNE_ENGINE": request.param, "GIGOGNE_DATA_DIR": data}
        user = Workspace(folder, {**settings, **named}, patience=300)
        if in_docker:
            build(user, *BUILT)
        open_.callback(user.run, "down", "-v")
        yield open_.enter_context((by_containers if in_docker else by_processes)(user))


@pytest.mark.sandbox
def test_the_loop_closes(stack: Stack) -> None:
    """What the API is asked has changed: an alert, a retraining, a better champion, and nobody was turned away."""
    run(stack.user)
    wait_until(stack.is_ready, "the API is ready")
    began = stack.started()
    with visited(stack.api) as visitor, stack.watch() as monitoring:
        wait_until(lambda: visitor.versions == [1], "the first champion answers")
        products = [{name: each[name] for name in ("designation", "description")} for each in shifted(600, 9)]
        stack.ask("/predict/batch", {"products": products})
        wait_until(lambda: kept(monitoring, len(products)), "the predictions are in MongoDB")
        drift = stack.user.run("run", "--pipeline", "catalog-drift", "--json")
        assert drift.returncode == 0, drift.stdout[-3000:] + drift.stderr
        wait_until(lambda: monitoring.firing() & {"TextDrift", "PredictionDrift"}, "drift is alerted")
        wait_until(lambda: visitor.versions == [1, 2], "the new champion answers", 300)
    assert visitor.failures == [] and visitor.answers > 100
    assert stack.started() == began


def kept(monitoring: Observed, predictions: int) -> bool:
    """Whether MongoDB has so many predictions, as Prometheus knows of it."""
    return (monitoring.value('sum(api_outbox_stored_total{collection="predictions"})') or 0) > predictions
