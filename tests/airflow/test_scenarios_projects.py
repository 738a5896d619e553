"""Whole projects on a running Airflow: many runs at once, servers, one task for all jobs, the reference stack."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from docker import DockerClient
from tests.airflow.conftest import Deploy
from tests.airflow.deployed import Deployed, Project, lives
from tests.airflow.server import EMPTY, Airflow, wait_until
from tests.conftest import REPOSITORY, healthy
from tests.scenarios.docked import containers, leases
from tests.stack.conftest import S3

from gigogne.airflow.files import stable_run_id
from gigogne.compose.binary import compose_binary

pytestmark = [pytest.mark.airflow]

JOB = "image: busybox:1.36, stop_grace_period: 1s"
SERVER = """{image: busybox:1.36, stop_grace_period: 1s, network_mode: none,
           command: [sh, -c, 'trap "exit 0" TERM; while :; do sleep 0.1; done'],
           healthcheck: {test: "true", start_period: 10s, start_interval: 100ms}}"""
BUCKET, KEY = "fraud-detection-2-bucket", "data/validated.csv"


@pytest.mark.docker
def test_ten_runs_side_by_side(deploy: Deploy) -> None:
    """Each run of a DAG has containers of its own: all succeed, each hears of itself alone."""
    hear = "echo $$AIRFLOW_CTX_DAG_RUN_ID; sleep 2; echo $$AIRFLOW_CTX_DAG_RUN_ID"
    made = deploy(f"""\
        services:
          job: {{{JOB}, command: [sh, -c, '{hear}']}}
        """)
    with lives(made.project.name) as seen:
        runs = [made.trigger() for _ in range(10)]
        assert Counter(each.wait(150) for each in runs) == {"success": 10}
        for each in runs:
            assert [line for line in each.said("job") if line.startswith("manual__")] == [each.id] * 2
            assert each.xcom("job") == each.id
            assert len(seen.of("job", stable_run_id(each.dag_id, each.id, "job", -1))) == 1
        wait_until(seen.are_over, "all containers have ended", 10)
        assert len({each.name for each in seen.seen.values()}) == 10


@pytest.mark.docker
def test_servers_are_set_up_and_torn_down(deploy: Deploy, docker_engine: DockerClient) -> None:
    """A server runs while a DAG run needs it, and stops with the last that does; what was up before stays as it was."""
    needs = "depends_on: {mine: {condition: service_healthy}, theirs: {condition: service_healthy}}"
    wait = "until [ -e go-$$AIRFLOW_CTX_DAG_RUN_ID ]; do sleep 0.1; done"
    made = deploy(f"""\
        services:
          mine: {SERVER}
          theirs: {SERVER}
          job: {{{JOB}, volumes: ['.:/here'], working_dir: /here, command: [sh, -c, '{wait}'], {needs}}}
        """)
    name = made.project.name
    up = [str(compose_binary()), "-p", name, "up", "--detach", "--wait", "theirs"]
    subprocess.run(up, cwd=made.project.folder, capture_output=True, check=True)

    def server(which: str) -> dict[str, object]:
        each = containers(docker_engine, name)[f"{name}-{which}-1"]
        return {"id": each["Id"], "running": each["State"]["Running"], "since": each["State"]["StartedAt"]}

    before = server("theirs")
    one, other = made.trigger(), made.trigger()
    for each in (one, other):
        each.reach("job", "running", "deferred")
    (made.project.folder / f"go-{one.id}").touch()
    assert one.wait() == "success"
    assert server("mine")["running"]
    (made.project.folder / f"go-{other.id}").touch()
    assert other.wait() == "success"
    assert set(other.states()) == {"start_servers", "job", "stop_servers"}
    assert not server("mine")["running"]
    assert server("theirs") == before
    assert not [each for each in leases(docker_engine, name) if "-gigogne-run-" in each]


@pytest.mark.docker
def test_one_task_for_all_jobs(deploy: Deploy) -> None:
    """With `render="project"` one task runs the jobs in their order; its result has the verdict of each."""
    after = "depends_on: {first: {condition: service_completed_successfully}}"
    made = deploy(
        f"""\
        services:
          first: {{{JOB}, command: echo one}}
          then: {{{JOB}, command: echo two, {after}}}
          fails: {{{JOB}, command: [sh, -c, 'echo why >&2; exit 7'], {after}}}
        """,
        render="project",
        select=["then"],
    )
    run = made.trigger()
    assert run.wait() == "success" and len(run.states()) == 1
    (task,) = run.states()
    assert {name: each["code"] for name, each in run.xcom(task).items()} == {"first": 0, "then": 0}
    said = "\n".join(run.said(task))
    assert said.index("one") < said.index("two")
    made.publish(render="project")
    run = made.trigger()
    assert run.wait() == "failed"
    assert any("fails" in line and "7" in line for line in run.said(task))


@pytest.mark.sandbox
def test_without_a_scheduler(tmp_path: Path, airflow: Airflow) -> None:
    """`airflow dags test` runs the DAG too: a job that would defer is waited for."""
    project = Project.written(
        tmp_path / "project",
        f"""\
        services:
          first: {{{JOB}, command: [sh, -c, 'echo begun; sleep 2; echo ended']}}
          then: {{{JOB}, command: echo two, depends_on: {{first: {{condition: service_completed_successfully}}}}}}
        """,
        {},
    )
    home = tmp_path / "home"
    home.mkdir()
    # With a database of its own: the triggerer of another one would see to the same task.
    airflow.database.copy(EMPTY, "alone")
    settings = airflow.database.settings("alone")
    alone = Airflow.made_in(home, GIGOGNE_DATA_DIR=airflow.environment["GIGOGNE_DATA_DIR"], **settings)
    made = Deployed(alone, project, "process")
    (home / "dags" / "alone.py").write_text(made.dag_file(defer_after=0.5), encoding="utf-8")
    said = alone.command("dags", "test", made.dag_id)
    made.beside.run("down", "-v")
    assert "state=success" in said.stdout + said.stderr
    assert said.stdout.count("ended") >= 1


@pytest.fixture
def fraud(airflow: Airflow, request: pytest.FixtureRequest) -> Iterator[Deployed]:
    """The reference stack's own files as a DAG, under a name of its own."""
    named = Project(REPOSITORY, f"h6-fraud-{uuid4().hex[:8]}")
    deployed = Deployed(airflow, named, "process")
    request.node.projects = [deployed]
    yield deployed
    deployed.clean()


@contextmanager
def _s3(deployed: Deployed) -> Iterator[S3]:
    """The S3 server of a project, kept up."""
    with deployed.beside.start("up", "--json", "minio") as up, healthy(up, "minio") as at:
        yield S3(f"http://{at['minio']}", "minio", "minio123456", BUCKET)


def _csv(deployed: Deployed) -> bytes:
    with _s3(deployed) as s3:
        client = s3.client()
        body = bytes(client.get_object(Bucket=BUCKET, Key=KEY)["Body"].read())
        client.close()
    return body


@pytest.mark.sandbox
def test_the_reference_stack(fraud: Deployed) -> None:
    """The fraud project writes the same CSV to S3 as a DAG as it does by `gigogne run`; no server stays up."""
    fraud.publish(select=["extractor_sql"], environment={"TRANSACTIONS": "400", "DEMO_MODE": "1"})
    run = fraud.trigger()
    assert run.wait(150) == "success"
    assert "inserted" in str(run.xcom("logger_sql"))
    assert not fraud.beside.run("ps").stdout.count("running")
    by_airflow = _csv(fraud)
    fraud.beside.run("down", "-v")
    ran = fraud.beside.run("run", "extractor_sql", TRANSACTIONS="400", DEMO_MODE="1")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert by_airflow.count(b"\n") > 50 and by_airflow == _csv(fraud)


@pytest.mark.full
@pytest.mark.parametrize("engine", [pytest.param("docker", marks=pytest.mark.docker), "process"])
@pytest.mark.parametrize("defer_after", [None, 1.0])
def test_a_hundred_megabytes(deploy: Deploy, engine: str, defer_after: float | None, tmp_path: Path) -> None:
    """100 MB of lines arrive, each once and in order, in memory that does not grow with them."""
    count = 1_000_000
    lines = f'i=0; while [ $$i -lt {count} ]; do i=$$((i + 1)); printf "line %06d {"x" * 88}\\n" $$i; done'
    made = deploy(
        f"services: {{job: {{{JOB}, command: [sh, -c, {json.dumps(lines)}]}}}}", engine=engine, defer_after=defer_after
    )
    run = made.trigger()
    largest = 0
    while run.state() not in {"success", "failed"}:
        sizes = [each.memory_info().rss for name in ("scheduler", "triggerer") for each in made.airflow.family(name)]
        largest = max(largest, *sizes)
    assert run.state() == "success"
    assert largest < 600 * 2**20
    numbers: list[int] = []
    for path in sorted(made.airflow.task_logs(made.dag_id), key=lambda each: each.stat().st_mtime):
        with path.open(encoding="utf-8") as log:
            said = (json.loads(line)["event"] for line in log)
            numbers += [int(text[5:11]) for text in said if text.startswith("line ")]
    assert sorted(numbers) == list(range(1, count + 1))


@pytest.mark.docker
def test_the_tutorial(deploy: Deploy) -> None:
    """What people copy from `docs/tutorials/airflow.md` becomes a green DAG, whose result is the one that it shows."""
    text = (REPOSITORY / "docs" / "tutorials" / "airflow.md").read_text(encoding="utf-8")
    files = dict(re.findall(r"^`(\S+)`\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    made = deploy(files.pop("docker-compose.yml"), files=files)
    run = made.trigger()
    assert run.wait(150) == "success"
    assert set(run.states()) == {"extract", "start_servers", "load", "stop_servers"}
    assert (run.xcom("extract"), run.xcom("load")) == ("3 orders written", "3")
