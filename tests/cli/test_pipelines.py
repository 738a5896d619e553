"""`--pipeline`, as a user types it: on the process engine, with processes that are really run."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.conftest import Workspace

MakeProject = Callable[[str, Mapping[str, str]], Workspace]

PROJECT = """
name: shop
services:
  extract: &job {build: ., command: python say.py /said/log, volumes: ["said:/said"], environment: {SAYS: extract}}
  clean: {<<: *job, environment: {SAYS: clean}}
  train:
    <<: *job
    profiles: [train]
    environment: {SAYS: "train ${EPOCHS:-1}"}
    depends_on: {registry: {condition: service_started}}
  load: {<<: *job, environment: {SAYS: load}}
  registry: {build: ., command: python serve.py, init: true, labels: {gigogne.kind: server}}
  other: {build: ., command: python serve.py, init: true, labels: {gigogne.kind: server}}
volumes: {said: {}}
x-gigogne:
  pipelines: {catalog: pipelines/catalog.yml}
  run: [catalog, load]
  up: [other]
"""
CATALOG = """
services:
  clean: {depends_on: {extract: {condition: service_completed_successfully}}}
  train: {depends_on: {clean: {condition: service_completed_successfully}}}
x-gigogne: {run: [train]}
"""
MODULES = {
    "say.py": "import os, sys; print(os.environ['SAYS'], file=open(sys.argv[1], 'a')); print(os.environ['SAYS'])\n",
    "serve.py": "import time; print('serving', flush=True); time.sleep(300)\n",
    "pipelines/catalog.yml": CATALOG,
}


@pytest.fixture
def shop(python_project: MakeProject) -> Workspace:
    """A project with one pipeline."""
    return python_project(PROJECT, MODULES)


def events(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """What `--json` said."""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_pipeline_is_run(shop: Workspace, way: str) -> None:
    """In the order of its edges, with the variables of the shell; what looks at it later needs no `--pipeline`."""
    done = shop.run("run", "--pipeline", "catalog", EPOCHS="7")
    assert done.returncode == 0, done.stderr
    assert (shop.volume("shop_said") / "log").read_text().splitlines() == ["extract", "clean", "train 7"]
    assert "3 of 3 jobs succeeded" in done.stdout
    assert {each["service"] for each in events(shop.run("ps", "-a", "--json"))} >= {"train", "extract", "registry"}
    assert "train 7" in shop.run("logs", "train").stdout
    assert shop.run("down", "-v").returncode == 0 and events(shop.run("ps", "-a", "--json")) == []


def test_a_bare_run_runs_pipelines_and_jobs_in_one(shop: Workspace) -> None:
    """All that `x-gigogne.run` lists, with one summary in the end."""
    done = shop.run("run", "--json", "-j", "1")
    assert done.returncode == 0, done.stdout
    summaries = [event for event in events(done) if event["event"] == "summary"]
    assert len(summaries) == 1
    assert {each["service"]: each["result"] for each in summaries[0]["services"]} == {
        **dict.fromkeys(("extract", "clean", "train", "load"), "succeeded"),
        "registry": "served",
    }


def test_a_job_that_fails_keeps_back_what_the_pipeline_has_after_it(shop: Workspace) -> None:
    """The edge is the pipeline's; the exit code is the job's own."""
    shop.write({"say.py": "import os, sys; sys.exit(9 if os.environ['SAYS'] == 'clean' else 0)\n"})
    done = shop.run("run", "--pipeline", "catalog", "--json")
    results = {each["service"]: each["result"] for each in events(done)[-1]["services"]}
    assert done.returncode == 9 and (results["clean"], results["train"]) == ("failed", "not run")


def test_plan_and_explain(shop: Workspace) -> None:
    """Both before the project is run; a service of a profile may be explained."""
    assert shop.run("plan", "--pipeline", "catalog").stdout.splitlines()[2] == (
        "run clean       train waits for it to complete"
    )
    assert "train 3" in shop.run("explain", "train", "--pipeline", "catalog", EPOCHS="3").stdout
    refused = shop.run("plan", "--pipeline", "catlog")
    assert refused.returncode == 2 and "did you mean catalog?" in refused.stderr
    refused = shop.run("run", "catalog")
    assert refused.returncode == 2 and "--pipeline catalog" in refused.stderr


def test_up_keeps_the_servers_that_a_pipeline_needs(shop: Workspace) -> None:
    """Not those that the project keeps up without it; Ctrl-C ends them."""
    with shop.start("up", "--pipeline", "catalog", "--json") as process:
        assert process.stdout is not None
        said = json.loads(next(line for line in process.stdout if "serving" in line))
        assert said["service"] == "registry"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


def test_check_checks_every_pipeline(shop: Workspace) -> None:
    """Each is wrong in a way of its own, in a file of its own; what is right besides is checked all the same."""
    assert shop.run("check").returncode == 0
    shop.write(
        {
            "docker-compose.yml": PROJECT.replace(
                "{catalog: pipelines/catalog.yml}",
                "{catalog: pipelines/catalog.yml, typo: typo.yml, gone: gone.yml, more: more.yml}",
            ),
            "typo.yml": "services:\n  claen: {depends_on: [extract]}\n",
            "more.yml": "services: {sound: {image: 'no/such:1', command: 'true'}}\n",
        }
    )
    done = shop.run("check")
    assert done.returncode == 1
    assert 'typo.yml:2: service "claen" has no image: and no build:' in done.stderr and "did you mean" in done.stderr
    assert "gone.yml does not exist" in done.stderr
    assert "problem: more.yml:1: services.sound.image" in done.stdout
    assert done.stdout.splitlines()[-1].endswith(": 3 problems")
    assert shop.run("check", "--pipeline", "catalog").returncode == 0
    assert shop.run("check", "--pipeline", "more").returncode == 1


def test_what_is_misspelt_in_x_gigogne_is_no_silence(shop: Workspace) -> None:
    """Else `up` would keep up all servers, and `run` run all jobs."""
    for old, new, line in (("  up:", "  upp:", 18), ("\nx-gigogne:", "\nx-gigonge:", 15)):
        assert old in PROJECT
        shop.write({"docker-compose.yml": PROJECT.replace(old, new)})
        for command, code in (("up", 2), ("plan", 2), ("check", 1)):
            done = shop.run(command)
            assert done.returncode == code, command
            assert f"docker-compose.yml:{line}: " in done.stderr and "did you mean `" in done.stderr, command


def test_check_asks_for_the_ports_that_the_command_asks_for(shop: Workspace) -> None:
    """A run goes on without a port that another program has, and `up` does not: `check` says so of each."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = "registry: {build: ., command: python serve.py, init: true,"
        assert server in PROJECT
        shop.write({"docker-compose.yml": PROJECT.replace(server, f"{server} ports: ['127.0.0.1:{port}:{port - 1}'],")})
        for asked in (("--pipeline", "catalog"), ("train",)):
            assert shop.run("run", *asked).returncode == 0
            done = shop.run("check", *asked)
            assert done.returncode == 0, done.stdout
            assert f"note: docker-compose.yml:12: services.registry.ports: port {port}" in done.stdout
        for kept in (["registry"], []):
            done = shop.run("check", *kept)
            assert done.returncode == 1 and done.stdout.count(f"services.registry.ports: port {port}") == 1, done.stdout
        assert shop.run("up", "registry").returncode != 0
