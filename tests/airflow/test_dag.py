"""A Compose project as Airflow's own DAG: parsed by Airflow, from files alone, as its DAG processor does it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PIPELINE = {
    "docker-compose.yml": """
        services:
          db:
            image: postgres:17
            environment: {POSTGRES_PASSWORD: "${DB_PASSWORD:?must be set}"}
          extract:
            build: docker/extract
            env_file: [not-there.env]
            labels:
              gigogne.airflow.retries: 4
              gigogne.airflow.retry_delay: 1m30s
              gigogne.airflow.execution_timeout: 2h
              gigogne.airflow.pool: small
              gigogne.airflow.priority_weight: 7
              gigogne.airflow.skip_on_exit_code: 99,100
              gigogne.airflow.defer_after: never
          load:
            image: x
            restart: on-failure:3
            environment: {TOKEN: hunter2-literal}
            depends_on:
              extract: {condition: service_completed_successfully}
              db: {condition: service_healthy}
          # Says what has been loaded.
          report:
            image: x
            depends_on:
              load: {condition: service_completed_successfully}
    """,
    ".env": "DB_NAME=hunter2-of-env\n",
    "docker/extract/Dockerfile": "FROM python:3.12-slim\nCMD echo hunter2-of-dockerfile\n",
    "docker/extract/README.md": "# extract\n\nFetches the listings.\n",
}
DAGS = {
    "pipeline": """
        from datetime import timedelta

        def told(context):
            pass

        dag = ComposeDag(
            dag_id="pipeline", project="../project", schedule="@daily", tags=["shop"], params={"day": 1},
            default_args={"owner": "shop", "retry_delay": timedelta(seconds=5)}, on_failure_callback=told,
            environment={"TOKEN": "{{ conn.shop.password }}", "OTHER": "hunter2-of-operator"}, engine="docker",
        )
    """,
    "once": """
        dag = ComposeDag("once", project="../project", render="project", select="load", defer_after=None)
    """,
    "larger": """
        from airflow.providers.standard.operators.empty import EmptyOperator
        from airflow.sdk import DAG, task_group

        with DAG("larger", default_args={"retries": 9}) as dag:
            begin = EmptyOperator(task_id="begin")
            first = ComposeTaskGroup("first", project="../project", exclude=["report"])
            second = ComposeTaskGroup("second", project="../project", select=["extract"], default_args={"retries": 8})
            begin >> first >> second
    """,
    "with_more": """
        from airflow.providers.standard.operators.empty import EmptyOperator

        with ComposeDag("with_more", project="../project", default_args={"retries": 1}) as dag:
            dag.get_task("report") >> EmptyOperator(task_id="tell")
    """,
    "piped": 'dag = ComposeDag("piped", project="../piped", pipeline="catalog")',
    "listed": """
        from airflow.sdk import DAG

        with DAG("listed") as dag:
            ComposeTaskGroup("all", project="../piped")
            ComposeTaskGroup("one", project="../piped", pipeline="catalog", render="project")
    """,
    "broken": 'dag = ComposeDag("broken", project="../broken")',
    "labelled": 'dag = ComposeDag("labelled", project="../labelled")',
    "after_servers": 'dag = ComposeDag("after_servers", project="../after_servers")',
    "selects": 'dag = ComposeDag("selects", project="../project", select=["laod"])',
    "unknown": 'dag = ComposeDag("unknown", project="../piped", pipeline="catlog")',
    "misspelt": 'dag = ComposeDag("misspelt", project="../piped", pipeline="wrong")',
    "engine": 'dag = ComposeDag("engine", project="../project", engine="dockr")',
    "nowhere": 'dag = ComposeDag("nowhere", project="../nowhere")',
    "defaults": 'dag = ComposeDag("defaults", project="../project", default_args={"environment": {"A": "1"}})',
    "argument": 'dag = ComposeDag("argument", project="../project", retires=3)',
}
PROJECTS = {
    "project": PIPELINE,
    "piped": {
        "docker-compose.yml": """
            services:
              db: {image: 'postgres:17'}
              clean: {image: x}
              train: {image: x, profiles: [train], depends_on: {db: {condition: service_healthy}}}
              load: {image: x}
            x-gigogne: {pipelines: {catalog: pipelines/catalog.yml, wrong: pipelines/wrong.yml}, run: [catalog, load]}
        """,
        "pipelines/catalog.yml": """\
            services:
              train: {depends_on: {clean: {condition: service_completed_successfully}}}
            x-gigogne: {run: [train]}
        """,
        "pipelines/wrong.yml": "services:\n  trian: {depends_on: [clean]}\n",
    },
    "broken": {"docker-compose.yml": "services:\n  a:\n    imagee: x\n"},
    "labelled": {"docker-compose.yml": "services:\n  a:\n    image: x\n    labels: [gigogne.airflow.retires=3]\n"},
    "after_servers": {
        "docker-compose.yml": "services:\n  db: {image: 'postgres:17'}\n  a:\n    image: x\n    depends_on: [db]\n"
        "    labels:\n      gigogne.airflow.trigger_rule: all_done\n"
    },
}
# Airflow's own way to read a folder of DAG files, in a process that can reach nobody.
PARSE = """
import json, pathlib, socket, subprocess, sys

import airflow.sdk
from airflow.dag_processing.dagbag import DagBag
from airflow.providers_manager import ProvidersManager
from airflow.serialization.serialized_objects import DagSerialization

def refuse(*_, **__):
    raise AssertionError("parsing uses the network, or Compose for files that it knows")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
bag = DagBag(sys.argv[1])
facts = {}
for dag_id, dag in bag.dags.items():
    operators = {
        task.task_id: {
            "class": type(task).__name__, "setup": task.is_setup, "teardown": task.is_teardown, "doc": task.doc_md,
            "retries": task.retries, "delay": task.retry_delay.total_seconds(), "pool": task.pool,
            "timeout": task.execution_timeout and task.execution_timeout.total_seconds(),
            "weight": task.priority_weight, "skip": getattr(task, "skip_on_exit_code", None),
            "defer": getattr(task, "defer_after", None), "environment": getattr(task, "environment", None),
            "engine": getattr(task, "engine", None), "project": str(getattr(task, "project", "")),
            "targets": getattr(task, "targets", None), "servers": getattr(task, "servers", None),
            "depends_on": getattr(task, "depends_on", None), "rule": task.trigger_rule.value,
            "after": sorted(task.upstream_task_ids), "owner": task.owner,
            "files": getattr(task, "files", None), "profiles": getattr(task, "profiles", None),
        }
        for task in dag.tasks
    }
    serialized = json.dumps(DagSerialization.to_dict(dag))
    again = DagSerialization.from_dict(json.loads(serialized))
    part = dag.partial_subset("report" if "report" in dag.task_ids else dag.task_ids[0])
    facts[dag_id] = {
        "operators": operators, "serialized": serialized, "again": sorted(again.task_ids), "file": dag.fileloc,
        "schedule": str(dag.schedule), "tags": sorted(dag.tags), "part": sorted(part.task_ids),
    }
pipeline, piped = sys.argv[1] + "/pipeline.py", sys.argv[1] + "/piped.py"
edges = pathlib.Path(bag.dags["piped"].get_task("train").project, "pipelines/catalog.yml")
readme = pathlib.Path(bag.dags["pipeline"].get_task("extract").project, "docker/extract/README.md")
run, subprocess.run = subprocess.run, refuse
kept = DagBag(pipeline), DagBag(piped)
subprocess.run = run
readme.write_text("Fetches more.")
edges.write_text("x-gigogne: {run: [train]}")
changed = DagBag(pipeline), DagBag(piped)
later = [
    [one.import_errors | two.import_errors, one.dags["pipeline"].get_task("extract").doc_md, two.dags["piped"].task_ids]
    for one, two in (kept, changed)
]
provider = ProvidersManager().providers.get("gigogne")
known = provider and {"version": provider.version, "name": provider.data["name"]}
found = {"errors": bag.import_errors, "dags": facts, "provider": known, "later": later}
json.dump(found, open(sys.argv[2], "w"), default=str)
"""

pytestmark = pytest.mark.airflow


@dataclass(frozen=True)
class Parsed:
    """What Airflow made of the DAG files."""

    folder: Path
    errors: Mapping[str, str]
    dags: Mapping[str, Any]
    provider: Mapping[str, str]
    later: Sequence[Any]

    def operators(self, dag_id: str) -> Mapping[str, Any]:
        """The tasks of a DAG."""
        found: Mapping[str, Any] = self.dags[dag_id]["operators"]
        return found

    def error(self, name: str) -> str:
        """The last line of the import error of a DAG file."""
        return self.errors[str(self.folder / "dags" / f"{name}.py")].strip().splitlines()[-1]


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Parsed:
    """All the DAG files, parsed once without network, Docker or a variable of the project."""
    folder = tmp_path_factory.mktemp("parse")
    for project, files in PROJECTS.items():
        for name, text in files.items():
            path = folder / project / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")
    (folder / "dags").mkdir()
    for name, text in DAGS.items():
        imports = "from gigogne.airflow import ComposeDag, ComposeTaskGroup\n"
        (folder / "dags" / f"{name}.py").write_text(imports + textwrap.dedent(text), encoding="utf-8")
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "DOCKER_HOST": "tcp://127.0.0.1:1",
        "GIGOGNE_CACHE_DIR": str(folder / "cache"),
    }
    words = [sys.executable, "-c", PARSE, str(folder / "dags"), str(folder / "found.json")]
    done = subprocess.run(words, env=environment, cwd="/", capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return Parsed(folder, **json.loads((folder / "found.json").read_text(encoding="utf-8")))


def test_a_project_is_a_dag(parsed: Parsed) -> None:
    """Jobs are tasks with the names of their services, between a setup and a teardown for the servers."""
    tasks = parsed.operators("pipeline")
    assert {name: (task["class"], task["after"]) for name, task in tasks.items()} == {
        "start_servers": ("StartServersOperator", []),
        "extract": ("ServiceOperator", []),
        "load": ("ServiceOperator", ["extract", "start_servers"]),
        "report": ("ServiceOperator", ["load"]),
        "stop_servers": ("StopServersOperator", ["load", "start_servers"]),
    }
    assert [name for name, task in tasks.items() if task["setup"]] == ["start_servers"]
    assert [name for name, task in tasks.items() if task["teardown"]] == ["stop_servers"]
    assert tasks["stop_servers"]["rule"] == "all_done_setup_success"
    assert tasks["load"]["servers"] == tasks["start_servers"]["servers"] == ["db"] and not tasks["report"]["servers"]
    assert "docker-compose.yml:23: services.load.depends_on.db" in tasks["load"]["depends_on"]["db"]
    assert Path(tasks["load"]["project"]).resolve() == parsed.folder / "project"


def test_the_dag_is_airflows_own(parsed: Parsed) -> None:
    """Its arguments are those of a DAG, its file is the user's, and parts of it can be taken (`airflow tasks …`)."""
    dag = parsed.dags["pipeline"]
    assert (dag["schedule"], dag["tags"]) == ("@daily", ["shop"])
    assert dag["file"] == str(parsed.folder / "dags" / "pipeline.py")
    assert dag["again"] == sorted(parsed.operators("pipeline"))
    assert set(dag["part"]) == {"extract", "load", "report", "start_servers", "stop_servers"}
    serialized = json.loads(dag["serialized"])["dag"]
    assert serialized["has_on_failure_callback"] is True and "day" in json.dumps(serialized["params"])
    assert {task["owner"] for task in parsed.operators("pipeline").values()} == {"shop"}


def test_labels_set_what_airflow_does_with_a_task(parsed: Parsed) -> None:
    """They win over the DAG's arguments; where neither says, `restart: on-failure:3` gives the retries."""
    tasks = parsed.operators("pipeline")
    extract, load, report = tasks["extract"], tasks["load"], tasks["report"]
    assert (extract["retries"], extract["delay"], extract["timeout"]) == (4, 90.0, 7200.0)
    assert (extract["pool"], extract["weight"], extract["skip"], extract["defer"]) == ("small", 7, [99, 100], None)
    assert (load["retries"], load["delay"], load["defer"], load["timeout"]) == (3, 5.0, 5.0, None)
    assert (report["retries"], report["pool"]) == (0, "default_pool")
    given = parsed.operators("with_more")
    assert (given["extract"]["retries"], given["load"]["retries"]) == (4, 1)


def test_tasks_have_documentation(parsed: Parsed) -> None:
    """The README beside the Dockerfile, or the comment above the service."""
    tasks = parsed.operators("pipeline")
    assert tasks["extract"]["doc"] == "# extract\n\nFetches the listings."
    assert tasks["report"]["doc"] == "Says what has been loaded." and tasks["load"]["doc"] is None


def test_no_value_is_stored(parsed: Parsed) -> None:
    """Neither in the serialised DAG nor in the cache; the operator alone has its templates."""
    assert parsed.operators("pipeline")["load"]["environment"]["OTHER"] == "hunter2-of-operator"
    for dag_id, dag in parsed.dags.items():
        assert "hunter2" not in dag["serialized"] and "conn.shop" not in dag["serialized"], dag_id
    records = list((parsed.folder / "cache").rglob("*.json"))
    assert records, "what was made is kept"
    assert not any(b"hunter2" in record.read_bytes() for record in records)


def test_a_project_may_be_one_task(parsed: Parsed) -> None:
    """For chains of short jobs."""
    assert {name: (task["class"], task["targets"]) for name, task in parsed.operators("once").items()} == {
        "run": ("ProjectOperator", ["load"])
    }


def test_a_project_may_be_a_group(parsed: Parsed) -> None:
    """Of a larger DAG, whose other tasks come before and after it; default_args are inherited as in any group."""
    tasks = parsed.operators("larger")
    after = {name: task["after"] for name, task in tasks.items()}
    assert after["first.extract"] == ["begin"] and after["first.start_servers"] == ["begin"]
    assert after["first.load"] == ["first.extract", "first.start_servers"]
    assert after["second.extract"] == ["first.load"] and "first.report" not in tasks
    assert (tasks["first.load"]["retries"], tasks["first.extract"]["retries"]) == (9, 4)
    assert tasks["second.extract"]["retries"] == 4
    assert parsed.operators("with_more")["tell"]["after"] == ["report"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("broken", "docker-compose.yml:3: services.a.imagee: Compose knows no such key; did you mean `image`?"),
        ("labelled", "docker-compose.yml:4: there is no label gigogne.airflow.retires; did you mean `retries`?"),
        ("after_servers", "docker-compose.yml:7: the label gigogne.airflow.trigger_rule is all_done"),
        ("selects", "no service named laod; did you mean load?"),
        ("unknown", "no pipeline named catlog; did you mean catalog?"),
        ("misspelt", 'pipelines/wrong.yml:2: service "trian" has no image: and no build:; did you mean train?'),
        ("engine", "engine is 'dockr'; write one of auto, process, docker"),
        ("nowhere", "/nowhere; name the folder of your docker-compose.yml"),
        ("defaults", "environment stands in default_args"),
        ("argument", "unexpected keyword argument 'retires'"),
    ],
)
def test_what_is_wrong_is_an_import_error(parsed: Parsed, name: str, said: str) -> None:
    """It names file and line, and ends with what to do; the other DAGs are there all the same."""
    assert said in parsed.error(name) and name not in parsed.dags


def test_only_what_is_wrong_fails(parsed: Parsed) -> None:
    """A missing env file and a variable that must be set are no matter for parsing."""
    assert set(parsed.dags) == {"pipeline", "once", "larger", "with_more", "piped", "listed"}
    assert len(parsed.errors) == len(DAGS) - len(parsed.dags)


def test_airflow_lists_the_provider(parsed: Parsed) -> None:
    """`airflow providers list` shows it."""
    import gigogne

    assert parsed.provider == {"version": gigogne.__version__, "name": "Gigogne"}


def test_what_has_not_changed_is_not_read_again(parsed: Parsed) -> None:
    """The next parse runs no Compose; a README or the file of a pipeline that has changed is seen all the same."""
    (before, document, tasks), (after, changed, fewer) = parsed.later
    assert before == after == {}
    assert (document, changed) == ("# extract\n\nFetches the listings.", "Fetches more.")
    assert set(tasks) - set(fewer) == {"clean"}


def test_a_pipeline_is_a_dag(parsed: Parsed) -> None:
    """Its file's edges are there, its target's profile is on, and the operators have all that their workers need."""
    tasks = parsed.operators("piped")
    after = {name: task["after"] for name, task in tasks.items()}
    assert after == {
        "start_servers": [],
        "clean": [],
        "train": ["clean", "start_servers"],
        "stop_servers": ["start_servers", "train"],
    }
    assert "pipelines/catalog.yml:2: services.train" in tasks["train"]["depends_on"]["clean"]
    for task in tasks.values():
        assert [Path(file).name for file in task["files"]] == ["docker-compose.yml", "catalog.yml"]
        assert task["profiles"] == ["train"]


def test_a_dag_may_be_of_all_that_the_project_lists(parsed: Parsed) -> None:
    """Pipelines and jobs, as `gigogne run` takes them; and a pipeline may be one task."""
    tasks = parsed.operators("listed")
    assert {name.partition(".")[2] for name in tasks} == {
        *("start_servers", "clean", "train", "load", "stop_servers", "run")
    }
    assert tasks["all.train"]["after"] == ["all.clean", "all.start_servers"] and not tasks["all.load"]["after"]
    assert tasks["one.run"]["targets"] == ["train"] and tasks["one.run"]["profiles"] == ["train"]
