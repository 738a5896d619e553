"""Servers that one process brings up and another one stops, as the setup and the teardown task of a DAG do."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import pytest
from docker import DockerClient
from tests.orchestrators.conftest import DOCKER, DOCKER_TOO, PROCESS, PROCESS_TOO, Detachment
from tests.scenarios.observe import left_behind, wait_for

from gigogne.compose.binary import compose_binary

Events = list[dict[str, Any]]


def of(events: Events, name: str) -> list[str]:
    """The services of the events of that name, in their order."""
    return [event["service"] for event in events if event["event"] == name]


def test_one_process_starts_and_another_stops(detachment: Detachment) -> None:
    """They are healthy when the first has ended, used as they are by the next, and stopped in reverse order."""
    code, events = detachment.act("start", "setup", "db", "api")
    assert code == 0 and of(events, "healthy") == ["db", "api"]
    assert detachment.running() == {("db", ""), ("api", "")}
    code, again = detachment.act("start", "setup", "db", "api")
    assert code == 0 and [event["adopted"] for event in again if event["event"] == "started"] == [True, True]
    code, events = detachment.act("stop", "setup", "db", "api")
    assert code == 0 and of(events, "stopped") == ["api", "db"]
    assert not detachment.running()
    assert detachment.act("stop", "setup", "db", "api") == (0, []), "to stop them again does no harm"
    detachment.workspace.run("down")
    assert not left_behind(detachment.workspace.environment["GIGOGNE_DATA_DIR"])


@pytest.mark.parametrize("detachment", [PROCESS_TOO, DOCKER], indirect=True)
def test_one_that_is_unhealthy_takes_the_others_along(detachment: Detachment) -> None:
    """The error says why, after its last words; what was started is stopped again; the next try may be better."""
    code, events = detachment.act("start", "setup", "db", "ill")
    assert code == 1, events
    assert events[-1]["event"] == "error" and events[-1]["message"].startswith("ill is not up: unhealthy")
    assert [event["text"] for event in events if event["event"] == "output"] == ["I am ill"]
    assert of(events, "stopped") == ["db"]
    assert not detachment.running()
    assert detachment.act("start", "setup", "db")[0] == 0


@pytest.mark.parametrize("detachment", [PROCESS, DOCKER_TOO], indirect=True)
def test_a_stage_that_fails_keeps_those_before_it(detachment: Detachment) -> None:
    """The run needs what its earlier stages have started until its own stop, whoever else stops servers meanwhile."""
    assert detachment.act("start", "one", "db")[0] == 0
    assert detachment.act("start", "one", "ill", EARLIER="db")[0] == 1
    assert detachment.running() == {("db", "")}
    detachment.act("stop", "two", "db")
    assert detachment.running() == {("db", "")}
    detachment.act("stop", "one", "db", "ill")
    assert not detachment.running()


@pytest.mark.parametrize("detachment", [PROCESS, DOCKER_TOO], indirect=True)
def test_one_that_ends_is_not_up(detachment: Detachment) -> None:
    """Before it was healthy, with whatever exit code."""
    for _ in range(2):
        code, events = detachment.act("start", "setup", "brief")
        assert code == 1, events
    assert events[-1]["message"] == "brief is not up: it ended with exit code 0 before it was ready"
    assert [event["text"] for event in events if event["event"] == "output"] == ["I have nothing to do"]


@pytest.mark.parametrize("detachment", [PROCESS, DOCKER_TOO], indirect=True)
def test_the_start_can_be_given_up(detachment: Detachment) -> None:
    """As Airflow does when the task is cleared: what was started is stopped, and nothing else is started."""
    never = "healthcheck: {test: [CMD, 'false'], interval: 1s, retries: 100, start_period: 60s}"
    text = (detachment.workspace.folder / "compose.yml").read_text(encoding="utf-8")
    (detachment.workspace.folder / "compose.yml").write_text(f"{text}  slow:\n    <<: *server\n    {never}\n", "utf-8")
    with detachment.begin("start", "setup", "db", "slow") as process:
        wait_for(lambda: len(detachment.running()) == 2)
        (detachment.workspace.folder / "give-up").touch()
        out, err = process.communicate(timeout=30)
    assert process.returncode == 143 and "given up" in out, out + err
    assert not detachment.running()


@pytest.mark.parametrize("detachment", [PROCESS_TOO, DOCKER], indirect=True)
def test_what_another_run_needs_stays(detachment: Detachment) -> None:
    """A server belongs to nobody: the last run that needs it stops it."""
    detachment.act("start", "one", "db", "api")
    detachment.act("start", "two", "db")
    code, events = detachment.act("stop", "one", "db", "api")
    assert code == 0 and of(events, "stopped") == ["api"]
    assert [event["service"] for event in events if "another run needs it" in event.get("text", "")] == ["db"]
    assert detachment.running() == {("db", "")}
    detachment.act("stop", "two", "db")
    assert not detachment.running()


@pytest.mark.parametrize("detachment", [PROCESS, DOCKER_TOO], indirect=True)
def test_a_run_needs_them_until_its_deadline(detachment: Detachment) -> None:
    """Where the process that was to stop them never comes, the next one does."""
    detachment.act("start", "dead", "db", LIVES="2")
    began = time.monotonic()
    detachment.act("start", "two", "db")
    time.sleep(max(0.0, 2.5 - (time.monotonic() - began)))
    assert of(detachment.act("stop", "two", "db")[1], "stopped") == ["db"]


@pytest.mark.parametrize("detachment", [DOCKER], indirect=True)
def test_the_users_servers_stay(detachment: Detachment, docker_engine: DockerClient) -> None:
    """What `docker compose up` has started is used, and left as it was: the same container, never restarted."""
    up = [str(compose_binary()), "-p", detachment.name, "up", "--detach", "--wait", "db"]
    subprocess.run(up, cwd=detachment.workspace.folder, capture_output=True, check=True)
    before = docker_engine.api.inspect_container(f"{detachment.name}-db-1")["State"]["StartedAt"]
    code, events = detachment.act("start", "setup", "db", "api")
    assert code == 0, events
    code, events = detachment.act("start", "setup", "db", "ill", EARLIER="api")
    assert code == 1 and not of(events, "stopped"), "as is a failing one of a later stage"
    code, events = detachment.act("stop", "setup", "db", "api")
    assert code == 0 and of(events, "stopped") == ["api"]
    after = docker_engine.api.inspect_container(f"{detachment.name}-db-1")["State"]
    assert after["Running"] and after["StartedAt"] == before
    assert not docker_engine.volumes.list(filters={"label": f"gigogne.project={detachment.name}"})
