"""Who is reached where, and which ports two want: decided before anything starts."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import free_port

from gigogne.compose import LoadOptions, load_project
from gigogne.core.model import Project
from gigogne.engines.process import network as network_module
from gigogne.engines.process.addresses import Endpoint
from gigogne.engines.process.network import network_of, publications
from gigogne.engines.process.ports import port_problems


@pytest.fixture
def project(tmp_path: Path) -> Any:
    """Loads a project from services as data."""

    def load(**services: dict[str, Any]) -> Project:
        file = tmp_path / "compose.json"
        networks: dict[str, Any] = {"back": {}, "front": {}}
        file.write_text(json.dumps({"name": "net", "services": services, "networks": networks}), encoding="utf-8")
        return load_project(LoadOptions(files=(str(file),)))

    return load


def said(
    project: Project, embedded: dict[str, int], *, running: tuple[str, ...] = (), sandboxed: bool = True
) -> list[str]:
    """The problems of a project's ports."""
    network = network_of(project, embedded)
    found = port_problems(project, network, embedded, running, sandboxed=sandboxed, publish=True)
    return [str(problem) for problem in found]


def test_publications(project: Any) -> None:
    """Ranges are taken apart by Compose; of one that is left the first counts; no number, no publication; TCP only."""
    ports = ["9090-9091:8080-8081", "8000-8010:80", "81", "127.0.0.2:5353:53/udp", "0.0.0.0:7000:7000"]
    found = publications(project(a={"image": "x", "ports": ports}).services["a"])
    assert [(str(p.at), p.target) for p in found] == [
        ("127.0.0.1:9090", 8080),
        ("127.0.0.1:9091", 8081),
        ("127.0.0.1:8000", 80),
        ("0.0.0.0:7000", 7000),
    ]
    assert [p.anywhere for p in found] == [False, False, False, True]


def test_aliases_are_names(project: Any) -> None:
    """A server is reached by its name and by its network aliases."""
    made = project(db={"image": "postgres:17", "networks": {"default": {"aliases": ["database"]}}}, job={"image": "x"})
    hosts = network_of(made, {"db": 5432}).hosts
    assert hosts["db"] == hosts["database"] and hosts["db"].startswith("127.") and "job" not in hosts


def test_who_knows_whom(project: Any) -> None:
    """A name is known to those on the same network; an alias is one of its network, `container_name` of each."""
    image = {"image": "postgres:17"}
    made = project(
        db={**image, "networks": {"back": {"aliases": ["store"]}}, "container_name": "the-db"},
        api={**image, "networks": {"back": {}, "front": {"aliases": ["site"]}}},
        job={"image": "x", "networks": ["front"]},
        apart={"image": "x"},
    )
    network = network_of(made, {"db": 5432, "api": 5432})
    assert network.hosts_for("job") == dict.fromkeys(("api", "site"), network.hosts["api"])
    assert network.hosts_for("db").keys() == {"db", "the-db", "store", "api"}
    assert network.hosts_for("api")["the-db"] == network.hosts["db"] == network.hosts_for("api")["store"]
    assert network.hosts_for("apart") == {}


def test_one_loopback_address(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first keeps its port; another goes to its published one, else to one that is the same in each run."""
    monkeypatch.setattr(network_module, "unanswered", list)
    made = project(
        a={"image": "postgres:17"},
        b={"image": "postgres:17", "networks": {"default": {"aliases": ["bee"]}}},
        c={"image": "postgres:17", "ports": ["15433:5432"]},
    )
    network = network_of(made, dict.fromkeys("abc", 5432))
    assert set(network.hosts.values()) == {"127.0.0.1"}
    assert network.endpoint("a", 5432) == Endpoint("127.0.0.1", 5432)
    assert network.endpoint("c", 5432) == Endpoint("127.0.0.1", 15433)
    moved = network.endpoint("b", 5432)
    assert moved == network.endpoint("bee", 5432) and moved.port >= 20_000
    assert network_of(made, dict.fromkeys("abc", 5432)) == network


def test_two_on_one_port(project: Any) -> None:
    """Modules listen on every address, so one port is for one of them, beside embedded servers too."""
    port = free_port()
    clash = project(a={"image": "x", "expose": [str(port)]}, b={"image": "x", "ports": [f"{free_port()}:{port}"]})
    [found] = said(clash, {})
    assert found.startswith("services.a.expose: ") and "services.b.ports" in found and "gigogne up a" in found
    beside = project(db={"image": "postgres:17"}, a={"image": "x", "expose": [str(port)]})
    assert "services.db.image" in said(beside, {"db": port})[0]
    assert said(project(one={"image": "postgres:17"}, two={"image": "postgres:18"}), {"one": port, "two": port}) == []


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("BIND_HOST", True),
        ("MLFLOW_HOST", True),
        ("AIRFLOW__API__HOST", True),
        ("HTTP_ADDR", True),
        ("LISTEN", True),
        ("PUBLIC_HOST", False),
        ("KAFKA_ADVERTISED_HOST", False),
        ("ALLOWED_HOSTS", False),
        ("GHOST", False),
        ("HOST_LABEL", False),
    ],
)
def test_who_listens_on_its_own_name(project: Any, variable: str, told: bool) -> None:
    """A variable that says where to listen leaves the port to others; by which name others call does not."""
    port = str(free_port())
    one = {"image": "x", "expose": [port], "environment": {variable: "a"}}
    assert (said(project(a=one, b={"image": "postgres:17"}), {"b": int(port)}) == []) is told


def test_a_relay_beside_a_module(project: Any) -> None:
    """What one publishes and another listens on cannot both be."""
    port = free_port()
    clash = project(a={"image": "x", "ports": [f"{port}:{free_port()}"]}, b={"image": "x", "expose": [str(port)]})
    [found] = said(clash, {})
    assert f'publish another port: "{port + 1}:…"' in found


def test_ports_of_root(project: Any) -> None:
    """In the sandbox nobody is root: a module that listens on 80 is told so, with the port to take."""
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80:
        pytest.skip("here everybody may listen on port 80")
    [found] = said(project(a={"image": "x", "expose": ["80"]}), {})
    assert "let it listen on 8080" in found


def test_who_runs_holds_its_ports(project: Any) -> None:
    """A port that is taken is a problem, unless by the service itself."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        made = project(a={"image": "x", "ports": [f"{port}:{free_port()}"]})
        assert f"port {port} of 127.0.0.1 is taken by" in said(made, {})[0]
        assert said(made, {}, running=("a",)) == []


def test_udp_is_not_relayed(project: Any) -> None:
    """A notice says so."""
    [found] = said(project(a={"image": "x", "ports": ["5353:53/udp"]}), {})
    assert "udp port 53 is not published" in found
