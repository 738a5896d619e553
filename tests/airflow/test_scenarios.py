"""Compose projects as DAGs on a running Airflow: what arrives in a job, and what comes back from it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from docker import DockerClient
from tests.airflow.deployed import Deployed, Project
from tests.airflow.rest import DONE, DagRun
from tests.airflow.server import Airflow
from tests.scenarios.docked import containers, leases

pytestmark = [pytest.mark.airflow, pytest.mark.docker, pytest.mark.sandbox]

# Airflow's own list of the paths that its UI asks.
_UI = "airflow/api_fastapi/core_api/openapi/_private_ui.yaml"
ENGINES = ("docker", "process")
LINES = 40
JOB = "image: busybox:1.36\n    stop_grace_period: 1s"
COMPOSE = f"""\
services:
  # What stands above a service.
  lines:
    {JOB}
    volumes: [kept:/kept]
    command:
      - sh
      - -c
      - |
        echo one > /kept/rows
        echo plain; sleep 0.2; echo complaint >&2; sleep 0.2
        echo '{{"level": "warning", "message": "careful", "rows": 3}}'
        echo 'the last line'
  result:
    {JOB}
    volumes: [kept:/kept]
    command: [sh, -c, 'echo "{{\\"rows\\": [\\"$$(cat /kept/rows)\\"]}}" > $$GIGOGNE_RESULT; echo noise']
    depends_on: {{lines: {{condition: service_completed_successfully}}}}
  context:
    {JOB}
    environment: {{GREETING: from the project, TOKEN: "${{TOKEN}}"}}
    env_file: secret.env
    command:
      - sh
      - -c
      - |
        echo "dag=$$AIRFLOW_CTX_DAG_ID task=$$AIRFLOW_CTX_TASK_ID try=$$AIRFLOW_CTX_TRY_NUMBER"
        echo "run=$$AIRFLOW_CTX_DAG_RUN_ID"
        echo "greeting=$$GREETING"
        echo "lengths=$${{#DB_PASSWORD}},$${{#API_TOKEN}},$${{#TOKEN}}"
        echo "secrets are $$DB_PASSWORD and $$API_TOKEN and $$DB_URL" >&2
        echo "done"
  skips:
    {JOB}
    labels: {{gigogne.airflow.skip_on_exit_code: "99"}}
    command: [sh, -c, 'exit 99']
  quick:
    {JOB}
    command: [sh, -c, 'echo first; echo second; echo third']
  long:
    {JOB}
    labels: {{gigogne.airflow.defer_after: 1s}}
    command:
      - sh
      - -c
      - 'i=0; while [ $$i -lt {LINES} ]; do echo "out $$i"; echo "err $$i" >&2; i=$$((i + 1)); sleep 0.3; done'
volumes: {{kept: }}
"""


@dataclass
class Finished:
    """A run that has ended, and what was seen on its way."""

    deployed: Deployed
    run: DagRun
    states: dict[str, set[str]] = field(default_factory=dict)
    while_deferred: list[str] = field(default_factory=list)
    dumps: list[str] = field(default_factory=list)
    secrets: tuple[str, ...] = ()

    def look(self) -> None:
        """Follow the run to its end."""
        deadline = time.monotonic() + 120
        while self.run.state() not in DONE:
            assert time.monotonic() < deadline, self.run.states()
            for task, state in self.run.states().items():
                self.states.setdefault(task, set()).add(state)
            if "deferred" in self.states.get("long", ()) and len(self.while_deferred) < LINES // 2:
                self.while_deferred = [said for said in self.run.said("long") if said.startswith("out ")]
                self.dumps.append(_dump(self.deployed.airflow))
            time.sleep(0.5)
        self.dumps.append(_dump(self.deployed.airflow))


def _dump(airflow: Airflow) -> str:
    """Every row of the metadata database, but those where Airflow keeps connections."""
    return airflow.database.dump(but="connection")


@pytest.fixture(scope="module")
def both(airflow: Airflow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Finished]]:
    """One run of the project on each engine, side by side."""
    runs: dict[str, Finished] = {}
    try:
        with ThreadPoolExecutor() as pool:
            folders = [tmp_path_factory.mktemp(engine) / "project" for engine in ENGINES]
            begun = pool.map(_begin, [airflow] * len(ENGINES), folders, ENGINES)
            runs |= zip(ENGINES, begun, strict=True)
            list(pool.map(Finished.look, runs.values()))
        yield runs
    finally:
        for each in runs.values():
            each.deployed.clean()


def _begin(airflow: Airflow, folder: Path, engine: str) -> Finished:
    password, token, other = (f"secret-{uuid4().hex}" for _ in range(3))
    files = {"secret.env": f"API_TOKEN={token}\n", ".env": f"TOKEN={other}\n"}
    deployed = Deployed(airflow, Project.written(folder, COMPOSE, files), engine)
    name = deployed.dag_id.replace("-", "_")
    airflow.api.connect(name, conn_type="postgres", host="db", login="me", password=password, schema="hello")
    deployed.publish(
        environment={
            "GREETING": f"{{{{ conn.{name}.schema }}}} from {{{{ dag.dag_id }}}}",
            "DB_PASSWORD": f"{{{{ conn.{name}.password }}}}",
            "DB_URL": f"{{{{ conn.{name}.get_uri() }}}}",
        }
    )
    return Finished(deployed, deployed.trigger(), secrets=(password, token, other))


@pytest.fixture(params=ENGINES)
def finished(both: dict[str, Finished], request: pytest.FixtureRequest) -> Finished:
    """The run on one of the engines."""
    request.node.projects = [both[request.param].deployed]
    return both[request.param]


def test_jobs_are_tasks(finished: Finished) -> None:
    """Each job is a task, which ends as the job ended; one that says so by its exit code is skipped."""
    jobs = dict.fromkeys(yaml.safe_load(COMPOSE)["services"], "success")
    assert finished.run.states() == jobs | {"skips": "skipped"}
    assert finished.run.state() == "success"


def test_results(finished: Finished) -> None:
    """A job's XCom is its last line, or the JSON that it wrote to `GIGOGNE_RESULT`; a volume carries its files."""
    assert finished.run.xcom("lines") == "the last line"
    assert finished.run.xcom("result") == {"rows": ["one"]}


def test_the_context_arrives(finished: Finished) -> None:
    """The module learns of Airflow's context, and of a connection by the operator's environment, which wins."""
    said = finished.run.said("context")
    dag = finished.run.dag_id
    assert f"dag={dag} task=context try=1" in said
    assert f"run={finished.run.id}" in said
    assert f"greeting=hello from {dag}" in said
    assert f"lengths={','.join(str(len(each)) for each in finished.secrets)}" in said


def test_lines_keep_their_stream_and_level(finished: Finished) -> None:
    """Both streams are in the task's log and told apart; a line of JSON keeps its level, message and fields."""
    log = {str(each["event"]): each for each in finished.run.log("lines")}
    assert {log["plain"]["stream"], log["the last line"]["stream"]} == {"stdout"}
    assert log["complaint"]["stream"] == "stderr"
    assert (log["careful"]["level"], log["careful"]["rows"]) == ("warning", 3)


def test_a_job_of_milliseconds_says_all(finished: Finished) -> None:
    """What a job says that ends at once is there, each line once."""
    said = [line for line in finished.run.said("quick") if line in {"first", "second", "third"}]
    assert said == ["first", "second", "third"]
    assert finished.run.xcom("quick") == "third"


def test_a_long_job_defers(finished: Finished) -> None:
    """Its lines are in the log while it is deferred; in the end each is there once, in the order of its stream."""
    assert "deferred" in finished.states["long"]
    assert finished.while_deferred
    log = finished.run.log("long")
    for stream, word in (("stdout", "out"), ("stderr", "err")):
        said = [each["event"] for each in log if each.get("stream") == stream and each["event"].startswith(f"{word} ")]
        assert said == [f"{word} {i}" for i in range(LINES)]
    assert finished.run.xcom("long") == f"out {LINES - 1}"


def test_edges_name_their_key(finished: Finished) -> None:
    """The rendered fields of a task name the line of the Compose file that made its edge; no environment is in them."""
    rendered = finished.run.rendered("result")
    assert "compose.yml:" in rendered["depends_on"]["lines"]
    assert not any("environment" in name for name in finished.run.rendered("context"))


def test_secrets_are_nowhere(finished: Finished) -> None:
    """No log, no row of the metadata database and no answer of the API holds a value that is secret."""
    airflow = finished.deployed.airflow
    said = "\n".join(finished.run.said("context"))
    assert "secrets are *** and *** and " in said
    logs = [path for path in airflow.home.rglob("*.log*") if path.is_file()]
    assert any("context" in str(path) for path in logs)
    holders = {str(path): path.read_text(encoding="utf-8", errors="replace") for path in logs}
    holders |= {f"database {i}": dump for i, dump in enumerate(finished.dumps)}
    holders |= _answers(finished.run)
    found = [where for where, text in holders.items() for secret in finished.secrets if secret in text]
    assert not found


def _answers(run: DagRun) -> dict[str, str]:
    """What the API answers about a run, at every path that it has for reading, public or the UI's own."""
    texts = {"dag_id": run.dag_id, "dag_run_id": run.id, "run_id": run.id, "map_index": "-1", "try_number": "1"}
    texts |= {"xcom_key": "return_value", "task_display_name": "context"}
    public = json.loads(run.api.text("GET", "/openapi.json"))["paths"]
    private = yaml.safe_load(Path(str(distribution("apache-airflow-core").locate_file(_UI))).read_text("utf-8"))[
        "paths"
    ]
    answers: dict[str, str] = {}
    for path in [each for each, verbs in {**public, **private}.items() if "get" in verbs]:
        for task in ("context", "long"):
            asked = path.format_map(_Texts(texts | {"task_id": task}))
            if asked not in answers and "{" not in asked and "/logout" not in asked and "/wait" not in asked:
                try:
                    answers[asked] = run.api.text("GET", asked, limit=100)
                except AssertionError as error:  # an answer too
                    answers[asked] = str(error)
    assert sum('"detail"' not in each for each in answers.values()) > 30
    return answers


class _Texts(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return f"{{{key}}}"


def test_nothing_is_left(both: dict[str, Finished], docker_engine: DockerClient) -> None:
    """When the run is over there is no container of it, and nothing of its needs; the reaper still watches a while."""
    project = both["docker"].deployed.project.name
    assert not [name for name, each in containers(docker_engine, project).items() if each["State"]["Running"]]
    assert not [each for each in leases(docker_engine, project) if "-gigogne-run-" in each]
