"""The job of a task: found or started, ended, and what an earlier try has left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from structlog.testing import capture_logs
from tests.airflow.conftest import ON_ONE
from tests.conftest import Workspace

from gigogne.airflow.bookmark import Bookmark
from gigogne.airflow.execution import Execution, Interruption, check, open_engine
from gigogne.airflow.files import load_options, stable_run_id
from gigogne.airflow.job import Job
from gigogne.airflow.logs import TaskLog
from gigogne.airflow.operators import ProjectOperator, ServiceOperator, StartServersOperator, StopServersOperator
from gigogne.airflow.outcome import told
from gigogne.airflow.service_task import ServiceTask
from gigogne.choice import choose_engine
from gigogne.compose import load_project
from gigogne.core.engine import Detached, Engine, Run, State
from gigogne.errors import ComposeError, EngineError, UnsupportedError

pytestmark = [pytest.mark.airflow, pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")]

COMPOSE = """\
services:
  long:
    image: busybox:1.36
    command: [sh, -c, "echo begun; sleep 60"]
    stop_grace_period: 1s
  quick:
    image: busybox:1.36
    command: [sh, -c, "echo one; echo two; echo oops >&2; exit $$CODE"]
    environment: {CODE: "0"}
  result:
    image: busybox:1.36
    command: [sh, -c, "echo '{\\"rows\\": 5}' > $$GIGOGNE_RESULT; echo last"]
  never:
    image: busybox:1.36
    command: [sleep, "60"]
    stop_grace_period: 0s
    healthcheck: {test: "false", interval: 100ms, retries: 1}
"""
# The DAG and its run, in which the tasks under test are.
DAG_ID, DAG_RUN = "h4", "manual__1"
# Another process, as an earlier try of the task is: it starts the job, and sees to it until it is killed.
EARLIER = """
import sys, time
from gigogne.airflow.files import load_options
from gigogne.choice import choose_engine
from gigogne.compose import load_project
from gigogne.core.engine import Detached, Run

folder, name, engine, service, run_id, attends = sys.argv[1:]
project = load_project(load_options(folder, project_name=name))
engine, _ = choose_engine(engine, lambda service, text: None)
run = Run(run_id, project, (service,), Detached())
engine.prepare(project.services[service], run)
with engine.attend(run):
    engine.wait(engine.start(project.services[service], run), timeout=None if service != "long" else 0.1)
    print("started", flush=True)
    time.sleep(float(attends))
"""


class Trial:
    """A project, an engine, and tries of a task on them."""

    def __init__(self, workspace: Workspace, engine: Engine) -> None:
        self.workspace, self.engine = workspace, engine
        self.name = f"h4-{uuid4().hex[:8]}"
        self.run_id = f"airflow-{time.time_ns():x}"[-20:]
        self.project = load_project(load_options(workspace.folder, project_name=self.name))
        self.others: list[subprocess.Popen[str]] = []

    def run(self, service: str, attempt: int = 1, deadline: float | None = None) -> Run:
        """A try's run."""
        return Run(self.run_id, self.project, (service,), Detached(deadline, attempt))

    def earlier(self, service: str, *, attends: float = 0.0) -> subprocess.Popen[str]:
        """An earlier try, in another process, which sees to its job for so many seconds after the start."""
        words = [str(self.workspace.folder), self.name, self.engine.name, service, self.run_id, str(attends)]
        process = subprocess.Popen([sys.executable, "-c", EARLIER, *words], stdout=subprocess.PIPE, text=True)
        self.others.append(process)
        assert process.stdout is not None
        with process.stdout as said:
            assert said.readline() == "started\n"
        return process

    def next_try(self, service: str, **run: Any) -> tuple[Execution, list[str]]:
        """Another try, as far as finding what is left; and what it said."""
        with capture_logs() as said:
            execution = Execution(self.engine, self.run(service, 2, **run), self.project.services[service], TaskLog())
            execution.find()
        return execution, [line["event"] for line in said]

    def task(self, service: str, **arguments: Any) -> ServiceTask:
        """A task's try, as Airflow makes it; its run is the trial's from now on."""
        operator = ServiceOperator(task_id=service, service=service, defer_after=0.1, **self.words, **arguments)
        context = self.context(operator)
        self.run_id = stable_run_id(DAG_ID, DAG_RUN, service, context["ti"].map_index)
        return ServiceTask(operator, context)

    def context(self, operator: Any) -> Any:
        """What Airflow tells a task of itself."""
        ti = RuntimeTaskInstance.model_construct(
            task=operator, dag_id=DAG_ID, run_id=DAG_RUN, task_id=operator.task_id, map_index=-1, try_number=1
        )
        return {"ti": ti, "task_instance": ti, "task": operator, "dag": DAG(DAG_ID, schedule=None)}

    @property
    def words(self) -> dict[str, Any]:
        """What operators are told of the project."""
        return {"project": self.workspace.folder, "project_name": self.name, "engine": self.engine.name}

    def guards(self) -> list[psutil.Process]:
        """The processes that guard the project."""
        found = psutil.process_iter(["cmdline"])
        return [each for each in found if {"reap", self.name} <= set(each.info["cmdline"] or ())]

    def left(self) -> list[str]:
        """The states of the run's jobs that are still there."""
        found = [handle for handle in self.engine.find(self.project, ended=True) if handle.run == self.run_id]
        return [str(self.engine.status(handle).state) for handle in found]


@pytest.fixture
def trial(workspace: Workspace, engine: Engine) -> Iterator[Trial]:
    """On either engine."""
    workspace.write({"compose.yml": COMPOSE})
    made = Trial(workspace, engine)
    yield made
    for other in made.others:
        other.kill()
        other.wait()
    for handle in engine.find(made.project):
        engine.stop(handle, grace=0)
    for guard in made.guards():
        guard.kill()
    engine.remove(made.project, volumes=True)


def test_a_job_is_started_listened_to_and_leaves_nothing(trial: Trial) -> None:
    """Its last line on stdout is the result."""
    with capture_logs() as said:
        execution = Execution(trial.engine, trial.run("quick"), trial.project.services["quick"], TaskLog())
        execution.find()
        trial.engine.prepare(execution.service, execution.run)
        with trial.engine.attend(execution.run):
            execution.start()
            execution.follow()
            status = execution.wait()
            assert execution.result() == "two"
            execution.discard()
    assert status is not None
    assert (status.state, status.code) == (State.EXITED, 0)
    assert [line["event"] for line in said if line.get("stream") == "stdout"] == ["one", "two"]
    assert [line["event"] for line in said if line.get("stream") == "stderr"] == ["oops"]
    assert trial.left() == []


@ON_ONE
def test_the_json_that_a_job_writes_is_its_result(trial: Trial) -> None:
    """At the path in `GIGOGNE_RESULT`."""
    execution = Execution(trial.engine, trial.run("result"), trial.project.services["result"], TaskLog())
    trial.engine.prepare(execution.service, execution.run)
    execution.start()
    assert execution.wait(30.0) is not None
    assert execution.result() == {"rows": 5}
    execution.discard()


def test_a_job_that_its_killed_process_left_running_is_gone_on_with(trial: Trial) -> None:
    """Nothing is started a second time, and the log begins at the beginning."""
    earlier = trial.earlier("long", attends=600)
    earlier.send_signal(signal.SIGKILL)
    earlier.wait()
    execution, said = trial.next_try("long")
    assert execution.job is not None
    assert "still runs" in said[0]
    with capture_logs() as lines:
        execution.start()
        execution.follow()
        assert execution.wait(1.0) is None
        execution.stop()
        assert execution.wait(10.0) is not None
    assert [line["event"] for line in lines if line.get("stream")] == ["begun"]
    assert len(trial.left()) == 1
    execution.discard()


def test_a_job_that_somebody_still_sees_to_is_waited_for_and_not_doubled(trial: Trial) -> None:
    """The task was cleared: its earlier process is about to end the job, and the next one begins anew after that."""
    earlier = trial.earlier("long", attends=600)

    def end() -> None:
        (handle,) = [each for each in trial.engine.find(trial.project) if each.run == trial.run_id]
        time.sleep(1.5)
        trial.engine.stop(handle, grace=0)

    ender = threading.Thread(target=end)
    ender.start()
    began = time.monotonic()
    execution, said = trial.next_try("long")
    ender.join()
    assert execution.job is None
    assert "being ended" in said[0]
    assert time.monotonic() - began > 1.0
    assert trial.left() == []
    assert earlier.poll() is None


@ON_ONE
def test_a_success_that_nobody_fetched_is_taken(trial: Trial) -> None:
    """The job ended well while nobody lived to see it: it need not run again."""
    trial.earlier("result").wait()
    execution, said = trial.next_try("result")
    assert "succeeded" in said[0]
    execution.start()
    status = execution.wait()
    assert status is not None
    assert status.code == 0
    assert execution.result() == {"rows": 5}
    execution.discard()
    assert trial.left() == []


@ON_ONE
def test_a_job_that_was_left_to_the_triggerer_is_not_gone_on_with(trial: Trial) -> None:
    """No crash leaves it so: its task was cleared while no triggerer saw to it, and its owner wants it anew."""
    earlier = trial.earlier("long", attends=0)
    earlier.wait()
    (handle,) = trial.engine.find(trial.project)
    bookmark = Bookmark(Job(handle, trial.name, ("long",), 1.0))
    bookmark.write("0:0")
    bookmark.close()
    execution, _ = trial.next_try("long")
    assert execution.job is None
    assert trial.left() == []
    assert not bookmark


def test_a_failure_is_removed_and_begun_anew(trial: Trial) -> None:
    """A retry is a new start, with no conflict of names."""
    (trial.workspace.folder / "compose.yml").write_text(COMPOSE.replace('CODE: "0"', 'CODE: "3"'))
    trial.earlier("quick").wait()
    execution, _ = trial.next_try("quick")
    assert execution.job is None
    assert trial.left() == []
    trial.engine.prepare(execution.service, execution.run)
    execution.start()
    status = execution.wait()
    assert status is not None
    assert status.code == 0
    execution.discard()


@ON_ONE
def test_nobody_waits_beyond_the_deadline(trial: Trial) -> None:
    """It is the job's, wherever it is waited for."""
    run = trial.run("long", deadline=time.time() + 2)
    execution = Execution(trial.engine, run, trial.project.services["long"], TaskLog())
    trial.engine.prepare(execution.service, run)
    execution.start()
    assert execution.wait(60.0) is None
    assert execution.late
    execution.stop()
    assert execution.wait(0) is not None
    execution.discard()
    assert trial.left() == []


@ON_ONE
def test_what_breaks_off_ends_the_job(trial: Trial) -> None:
    """Airflow's time limit is an exception in the middle of the work."""
    execution = Execution(trial.engine, trial.run("long"), trial.project.services["long"], TaskLog())
    trial.engine.prepare(execution.service, execution.run)
    with pytest.raises(KeyboardInterrupt), execution.ended_on_error():
        execution.start()
        raise KeyboardInterrupt
    assert trial.left() == []


def test_airflow_ends_a_job_by_a_signal_within_five_seconds(trial: Trial) -> None:
    """`on_kill` comes in a signal handler, while the same thread waits for the job."""
    operator = ServiceOperator(task_id="long", project=trial.workspace.folder, service="long")
    before = signal.signal(signal.SIGUSR1, lambda number, frame: operator.on_kill())
    execution = Execution(trial.engine, trial.run("long"), trial.project.services["long"], TaskLog())
    trial.engine.prepare(execution.service, execution.run)
    try:
        with Interruption(operator, execution.interrupt) as interruption:
            execution.start()
            execution.follow()
            sender = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGUSR1))
            sender.start()
            began = time.monotonic()
            status = execution.wait()
            assert time.monotonic() - began < 5
            assert interruption.asked
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert status is not None
    assert status.code
    execution.discard()
    assert trial.left() == []


@ON_ONE
def test_a_job_that_is_interrupted_before_its_start_is_not_started(trial: Trial) -> None:
    """The signal may come while its image is being built."""
    execution = Execution(trial.engine, trial.run("long"), trial.project.services["long"], TaskLog())
    trial.engine.prepare(execution.service, execution.run)
    execution.interrupt()
    execution.start()
    assert execution.job is None
    assert trial.left() == []


@ON_ONE
def test_a_signal_before_the_work_has_begun_is_not_lost(trial: Trial) -> None:
    """It may come while Compose reads the files: then nothing is started."""
    task = trial.task("long")
    task._operator.on_kill()
    with pytest.raises(AirflowException, match="was not started: Airflow ended its task before"):
        task.execute()
    assert trial.left() == []


@ON_ONE
def test_a_try_that_is_being_ended_takes_nothing_over(trial: Trial) -> None:
    """Its owner wants the job of the earlier try no more, either."""
    task = trial.task("long")
    trial.earlier("long", attends=0).wait()
    assert trial.left() == ["running"]
    task._operator.on_kill()
    with pytest.raises(AirflowException, match="was not started"):
        task.execute()
    assert trial.left() == []


@ON_ONE
def test_servers_are_not_started_after_a_signal(trial: Trial) -> None:
    """As jobs are not."""
    operator = StartServersOperator(task_id="start_servers", servers=["never"], **trial.words)
    operator.on_kill()
    with pytest.raises(AirflowException, match="not started: Airflow ended the task before"):
        operator.execute(trial.context(operator))


def test_a_time_limit_does_not_end_the_next_try_in_this_process(tmp_path: Path) -> None:
    """After its exception Airflow calls `on_kill`, and `dag.test()` makes the next try with the same operator."""
    operator, acts = ServiceOperator(task_id="x", project=tmp_path, service="x"), []
    with Interruption(operator, lambda: acts.append("first")):
        pass
    operator.on_kill()
    with Interruption(operator, lambda: acts.append("second")) as interruption:
        assert not interruption.asked
    assert acts == []


def test_what_does_not_end_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that stops in good order has to hurry before Airflow's SIGKILL comes."""
    monkeypatch.setattr("gigogne.airflow.execution.ORDERLY", 0.05)
    operator, again = ServiceOperator(task_id="x", project=tmp_path, service="x"), threading.Semaphore(0)
    with Interruption(operator, again.release):
        operator.on_kill()
        assert again.acquire(timeout=5)
        assert again.acquire(timeout=5)


@ON_ONE
def test_servers_are_guarded_before_they_are_up(trial: Trial) -> None:
    """Who starts them may be killed while they get healthy."""
    operator = StartServersOperator(task_id="start_servers", servers=["never"], **trial.words)
    with pytest.raises(AirflowException, match="never is not up"):
        operator.execute(trial.context(operator))
    assert len(trial.guards()) == 1


@ON_ONE
def test_a_job_that_is_gone_on_with_is_guarded(trial: Trial) -> None:
    """Its first guard may have died with it, or with the machine that it was started on."""
    task = trial.task("long")
    trial.earlier("long", attends=0).wait()
    assert trial.guards() == []
    with pytest.raises(TaskDeferred):
        task.execute()
    assert trial.left() == ["running"]
    assert len(trial.guards()) == 1


@ON_ONE
@pytest.mark.parametrize(("service", "result"), [("result", {"rows": 5}), ("quick", None)])
def test_a_job_that_succeeded_has_succeeded_whatever_became_of_its_files(
    trial: Trial, service: str, result: object
) -> None:
    """Its secrets are not known then: what it printed is shown to nobody, and what it handed on is handed on."""
    task = trial.task(service)
    trial.earlier(service).wait()
    (handle,) = trial.engine.find(trial.project, ended=True)
    job = Job(handle, trial.name, (service,), 1.0, position="0:0")
    (trial.workspace.folder / "compose.yml").write_text("services: {other: {image: x}}\n")
    with capture_logs() as said:
        assert task.resume({"job": job.as_dict(), "timed_out": False}) == result
    assert [line["log_level"] for line in said] == ["warning"]
    assert "secrets are not known" in said[0]["event"]
    assert trial.left() == []


def test_a_daemon_that_does_not_answer_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `auto` took processes for once, a retry would start a second job beside the container."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    monkeypatch.delenv("GIGOGNE_ENGINE", raising=False)
    with pytest.raises(EngineError, match=r"no Docker daemon answers at .*docker\.sock") as caught:
        open_engine("auto", TaskLog())
    assert caught.value.hint.endswith("(in a DAG: engine='process')")
    assert open_engine("process", TaskLog()).name == "process"


def test_what_cannot_run_is_refused_with_its_place(workspace: Workspace) -> None:
    """Before anything starts; with file, line, key and what to do."""
    workspace.write({"compose.yml": "services:\n  job:\n    image: nowhere/at-all:1\n"})
    project = load_project(load_options(workspace.folder, project_name="h4-refused"))
    engine, _ = choose_engine("process", lambda service, text: None)
    with pytest.raises(UnsupportedError, match=r"compose\.yml:3: services\.job\.image: .* — "):
        check(engine, project, ["job"], TaskLog())


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (ComposeError("it is wrong", "write it right"), AirflowFailException),
        (UnsupportedError([], "run it elsewhere"), AirflowFailException),
        (EngineError("no Docker", "start it"), AirflowException),
    ],
)
def test_wrong_files_fail_for_good_and_the_rest_may_be_tried_again(
    error: Exception, raised: type[AirflowException]
) -> None:
    """No retry mends a file."""
    with pytest.raises(AirflowException, match="fix: ") as caught, told():
        raise error
    assert type(caught.value) is raised


@ON_ONE
def test_a_project_runs_what_it_lists(trial: Trial) -> None:
    """Without targets a task runs what a bare `gigogne run` runs: the jobs of a pipeline, with its edges."""
    listed = "x-gigogne: {pipelines: {twice: twice.yml}, run: [twice]}\n"
    edges = "services: {result: {depends_on: {quick: {condition: service_completed_successfully}}}}\n"
    run = "x-gigogne: {run: [result]}\n"
    trial.workspace.write({"compose.yml": COMPOSE.replace("$$GIGOGNE_RESULT", "/dev/null") + listed})
    trial.workspace.write({"twice.yml": edges + run})
    operator = ProjectOperator(task_id="run", **trial.words)
    found = operator.execute(trial.context(operator))
    assert {name: each["verdict"] for name, each in found.items()} == {"quick": "succeeded", "result": "succeeded"}


def test_templates_hold_names_alone() -> None:
    """What is rendered into these fields is stored; `environment` is rendered where the job is started."""
    for operator in (ServiceOperator, StartServersOperator, StopServersOperator, ProjectOperator):
        assert "environment" not in operator.template_fields
        assert operator.ui_fgcolor == "#1f2328"
    assert set(ServiceOperator.template_fields) == {"service", "engine", "depends_on", "servers"}


def test_a_project_folder_may_be_a_path_or_a_text(tmp_path: Path) -> None:
    """As DAG authors write it."""
    assert load_options(tmp_path, ["a.yml"]) == load_options(str(tmp_path), ["a.yml"])
