"""The outline of a DAG: which tasks a project has, in which order, and why. No Airflow is needed to tell."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from gigogne.airflow.outline import Outline
from gigogne.airflow.structure import outline
from gigogne.compose import LoadOptions
from gigogne.compose.selection import select as selection
from gigogne.compose.structure import load_structure
from gigogne.errors import ComposeError

CHAIN = """\
services:
  db: {image: 'postgres:17'}
  extract: {image: x}
  load:
    image: x
    depends_on:
      extract: {condition: service_completed_successfully}
      db: {condition: service_healthy}
  report:
    image: x
    restart: on-failure:3
    depends_on:
      load: {condition: service_completed_successfully}
  check:
    image: x
    depends_on:
      load: {condition: service_completed_successfully}
      db: {condition: service_healthy}
"""
STAGES = """\
services:
  db: {image: 'postgres:17'}
  migrate:
    image: x
    depends_on: {db: {condition: service_healthy}}
  api:
    image: x
    expose: ["80"]
    depends_on:
      migrate: {condition: service_completed_successfully}
      db: {condition: service_healthy}
  ask:
    image: x
    depends_on: [api]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the project of a test lies."""
    return tmp_path


def made(folder: Path, text: str, select: Sequence[str] = (), exclude: Sequence[str] = ()) -> Outline:
    """The outline of a project of one file."""
    (folder / "docker-compose.yml").write_text(text, encoding="utf-8")
    chosen = selection(LoadOptions(directory=str(folder)), select)
    return outline(load_structure(chosen.options, chosen.names, chosen.places), chosen, exclude)


def edges(found: Outline) -> dict[str, set[str]]:
    """What each task comes after, as the DAG draws it."""
    starts = [stage.task for stage in found.stages]
    drawn = {
        stage.task: {*stage.after, *starts[number - 1 : number]} for number, stage in enumerate(found.stages) if number
    }
    drawn |= {stage.task: set(stage.after) for stage in found.stages[:1]}
    drawn |= {job.service: {*job.after, *([] if job.stage is None else [starts[job.stage]])} for job in found.jobs}
    return drawn | ({found.stop: {job.service for job in found.jobs if job.closes}} if starts else {})


def test_jobs_are_tasks_and_completion_is_an_edge(folder: Path) -> None:
    """Only those that need a server wait for its start, and it is stopped when the last of those is done."""
    found = made(folder, CHAIN)
    assert edges(found) == {
        "start_servers": set(),
        "extract": set(),
        "load": {"extract", "start_servers"},
        "report": {"load"},
        "check": {"load"},
        "stop_servers": {"check"},
    }
    assert {job.service: job.servers for job in found.jobs if job.servers} == {"load": ("db",), "check": ("db",)}
    assert {job.service: job.restarts for job in found.jobs if job.restarts} == {"report": 3}


def test_each_edge_says_which_line_makes_it(folder: Path) -> None:
    """The file as seen from the project, the line, the key and the condition."""
    load = {job.service: job for job in made(folder, CHAIN).jobs}["load"]
    assert load.depends_on == {
        "extract": "docker-compose.yml:7: services.load.depends_on.extract (service_completed_successfully)",
        "db": "docker-compose.yml:8: services.load.depends_on.db (service_healthy)",
    }


def test_a_server_that_waits_for_a_job_is_a_stage_of_its_own(folder: Path) -> None:
    """A migration runs between the database and the API that needs both."""
    found = made(folder, STAGES)
    assert [(stage.task, stage.servers) for stage in found.stages] == [
        ("start_servers", ("db",)),
        ("start_servers_2", ("api",)),
    ]
    assert edges(found) == {
        "start_servers": set(),
        "migrate": {"start_servers"},
        "start_servers_2": {"start_servers", "migrate"},
        "ask": {"start_servers_2"},
        "stop_servers": {"migrate", "ask"},
    }
    assert {job.service: set(job.servers) for job in found.jobs} == {"migrate": {"db"}, "ask": {"api", "db"}}
    assert list(found.stages[1].depends_on) == ["db", "migrate"]


def test_servers_stay_until_every_task_that_uses_them_is_done(folder: Path) -> None:
    """Of two that one task waits for, either may still run when the other one's failure has ended that task."""
    found = made(
        folder,
        "services:\n"
        "  db: {image: 'postgres:17'}\n"
        "  a: {image: x, depends_on: [db]}\n"
        "  b: {image: x, depends_on: [db]}\n"
        "  c: {image: x, depends_on: {db: {condition: service_started}, "
        "a: {condition: service_completed_successfully}, b: {condition: service_completed_successfully}}}\n",
    )
    assert edges(found)["stop_servers"] == {"a", "b", "c"}


def test_a_started_job_is_no_edge_and_says_so(folder: Path) -> None:
    """Airflow waits for the end of a task, or not at all."""
    found = made(folder, "services:\n  a: {image: x}\n  b:\n    image: x\n    depends_on: [a]\n")
    assert edges(found) == {"a": set(), "b": set()}
    b = {job.service: job for job in found.jobs}["b"]
    assert b.depends_on["a"].startswith("docker-compose.yml:5:") and "no edge" in b.depends_on["a"]


def test_a_healthy_job_cannot_be_waited_for(folder: Path) -> None:
    """What is labelled a job and awaited as healthy is refused, with the line and what to write."""
    text = (
        "services:\n  a: {image: x, labels: [gigogne.kind=job]}\n"
        "  b:\n    image: x\n    depends_on:\n      a: {condition: service_healthy}\n"
    )
    with pytest.raises(ComposeError, match=r"yml:6: b waits for a to be healthy") as caught:
        made(folder, text)
    assert "service_completed_successfully" in caught.value.hint


def test_select_takes_what_it_waits_for(folder: Path) -> None:
    """Unknown names are answered with the nearest one; servers are no targets."""
    assert [job.service for job in made(folder, CHAIN, ["load"]).jobs] == ["extract", "load"]
    assert made(folder, CHAIN, ["extract"]).stages == ()
    with pytest.raises(ComposeError, match="no service named reprot") as caught:
        made(folder, CHAIN, ["reprot"])
    assert caught.value.hint == "did you mean report?"
    with pytest.raises(ComposeError, match="db is a server"):
        made(folder, CHAIN, ["db"])


def test_the_projects_own_targets_count(folder: Path) -> None:
    """`x-gigogne.run` is what is run, and a wrong name in it has a line."""
    assert [job.service for job in made(folder, f"{CHAIN}x-gigogne: {{run: [load]}}\n").jobs] == ["extract", "load"]
    with pytest.raises(ComposeError, match=r"yml:19: x-gigogne\.run: no service named lod"):
        made(folder, f"{CHAIN}x-gigogne: {{run: [lod]}}\n")


def test_exclude_bridges_nothing_and_says_what_is_lost(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What waited for an excluded service does so no more: the task shows it, and the log has it once."""
    found = made(folder, CHAIN, exclude=["load"])
    assert edges(found) == {
        "start_servers": set(),
        "extract": set(),
        "report": set(),
        "check": {"start_servers"},
        "stop_servers": {"check"},
    }
    report = {job.service: job for job in found.jobs}["report"]
    assert report.depends_on["load"].endswith("load is excluded: this is not waited for")
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "check waits for load no more",
        "report waits for load no more",
    ]
    assert made(folder, CHAIN, exclude=["db"]).stages == ()
    with pytest.raises(ComposeError, match="no service named bd"):
        made(folder, CHAIN, exclude=["bd"])
    with pytest.raises(ComposeError, match="nothing is left to run"):
        made(folder, "services: {a: {image: x}}", exclude=["a"])


def test_a_wrong_label_of_a_server_is_named_too(folder: Path) -> None:
    """Though nothing of it counts: servers are started all in one task."""
    text = "services:\n  db:\n    image: postgres:17\n    labels:\n      gigogne.airflow.retires: 3\n"
    with pytest.raises(ComposeError, match=r"yml:5: there is no label gigogne\.airflow\.retires"):
        made(folder, text + "  a: {image: x, depends_on: [db]}\n")


def test_services_keep_their_names(folder: Path) -> None:
    """Where a service is called as one of our tasks, ours has another name."""
    text = (
        "services: {start_servers: {image: x, depends_on: [db]}, stop_servers: {image: x}, db: {image: 'postgres:17'}}"
    )
    found = made(folder, text)
    assert edges(found) == {
        "gigogne_start_servers": set(),
        "start_servers": {"gigogne_start_servers"},
        "stop_servers": set(),
        "gigogne_stop_servers": {"start_servers"},
    }


def test_an_outline_survives_json(folder: Path) -> None:
    """It is kept in the cache as JSON."""
    found = made(folder, STAGES)
    assert Outline.of_dict(json.loads(json.dumps(asdict(found)))) == found


def test_it_holds_no_values(folder: Path) -> None:
    """Environment, commands and other labels of the files are left out: they may be secret."""
    text = (
        "services: {a: {image: x, command: echo hunter2, environment: {A: hunter2}, labels: {own: hunter2}, "
        "build: {context: ., args: {A: hunter2}}}}"
    )
    assert "hunter2" not in json.dumps(asdict(made(folder, text)))
