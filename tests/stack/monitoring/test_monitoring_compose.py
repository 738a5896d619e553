"""docker-compose-monitoring.yml: where it listens, what it says without Docker, and that it comes up with it."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from docker import DockerClient
from tests.conftest import REPOSITORY, Workspace
from tests.stack.conftest import SECRETS, copy_stack
from tests.stack.monitoring.conftest import Observed, eventually

from gigogne.compose.binary import compose_binary

FILE = "docker-compose-monitoring.yml"
SERVERS = ("alertmanager", "grafana", "prometheus")


def compose(stack: Workspace, *words: str) -> str:
    """What plain Compose prints; it has to succeed."""
    environment = {**os.environ, **SECRETS, **stack.environment}
    command = [str(compose_binary()), "-f", FILE, *words]
    done = subprocess.run(command, cwd=stack.folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_asks_for_no_password_stays_on_this_machine(workspace: Workspace) -> None:
    """BIND_ADDRESS moves what has a password or a token; Prometheus and Alertmanager have a variable of their own."""
    copy_stack(workspace.folder, "elsewhere")

    def addresses(**variables: str) -> dict[str, str]:
        workspace.environment |= variables
        services = json.loads(compose(workspace, "config", "--format", "json"))["services"]
        return {name: port["host_ip"] for name, service in services.items() for port in service.get("ports", ())}

    moved = {"grafana": "10.0.0.7", "monitor": "10.0.0.7"}
    assert addresses(BIND_ADDRESS="10.0.0.7") == {**moved, "alertmanager": "127.0.0.1", "prometheus": "127.0.0.1"}
    own = {"alertmanager": "127.0.0.9", "prometheus": "127.0.0.9"}
    assert addresses(MONITORING_ADDRESS="127.0.0.9") == {**moved, **own}


def test_without_docker_it_is_refused_by_name(workspace: Workspace) -> None:
    """No stand-in is there for these images: that is said of each, before anything starts."""
    file = str(REPOSITORY / FILE)
    refused = workspace.run("-f", file, "--project-directory", str(REPOSITORY), "up", *SERVERS)
    assert refused.returncode == 3
    for image in ("prom/prometheus:", "prom/alertmanager:", "grafana/grafana:"):
        assert f"the image {image}" in refused.stderr and "can only run in Docker" in refused.stderr


@pytest.mark.docker
def test_it_comes_up_in_docker(workspace: Workspace, docker_engine: DockerClient) -> None:
    """All healthy, on file systems that are read-only; the rules are read, the token can be; told to end, they end."""
    name = f"stack-monitoring-{os.getpid()}"
    copy_stack(workspace.folder, name)
    address = f"127.40.{os.getpid() // 256 % 256}.{os.getpid() % 256}"
    workspace.environment |= {
        "COMPOSE_PROJECT_NAME": name,
        "BIND_ADDRESS": address,
        "MONITORING_ADDRESS": address,
    }
    try:
        # Alertmanager comes with Prometheus.
        compose(workspace, "up", "-d", "--wait", "prometheus", "grafana")
        seen = Observed(f"http://{address}:9090", f"http://{address}:9093")
        assert {group["name"] for group in seen.ask("rules")["groups"]} >= {"api", "drift", "model", "queue"}
        assert eventually(lambda: seen.ask("alertmanagers")["activeAlertmanagers"])
        containers = {each: docker_engine.containers.get(f"{name}-{each}-1") for each in SERVERS}
        assert containers["alertmanager"].exec_run(["cat", "/run/secrets/monitor_token"]).output == b"laptop-only\n"
        compose(workspace, "stop")
        for service, container in containers.items():
            container.reload()
            assert container.attrs["HostConfig"]["ReadonlyRootfs"], service
            # What stands in for Grafana is killed.
            assert service == "grafana" or container.attrs["State"]["ExitCode"] == 0, service
    finally:
        compose(workspace, "down", "-v")
