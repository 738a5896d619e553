"""Tasks are ended from outside, and parts of Airflow die: no container stays, and no task ever has two at once."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

import psutil
import pytest
from tests.airflow.deployed import Deployed, Life, Lives, Project, lives, process_lives
from tests.airflow.rest import DONE, DagRun
from tests.airflow.server import COMPONENTS, Airflow, wait_until

from gigogne.airflow.files import stable_run_id

pytestmark = [pytest.mark.airflow, pytest.mark.docker]
FULL = os.environ.get("CI_LEVEL") == "full"

# The first try of a run goes on until it is told to go; a try after one that was ended is over at once.
COMPOSE = """\
services:
  job:
    image: busybox:1.36
    stop_grace_period: 1s
    volumes: [.:/here]
    command:
      - sh
      - -c
      - |
        trap 'echo told to end; exit 143' TERM
        cd /here
        if [ -e $$AIRFLOW_CTX_DAG_RUN_ID ]; then echo "a try after another"; sleep 1; exit 0; fi
        touch $$AIRFLOW_CTX_DAG_RUN_ID
        i=0
        while [ ! -e go-$$AIRFLOW_CTX_DAG_RUN_ID ]; do echo "line $$i"; i=$$((i + 1)); sleep 0.5; done
        echo "to the end"
"""
# On processes the gate tries what it has no time to try twice with CI_LEVEL=full.
ENGINES = ("docker", pytest.param("process", marks=[pytest.mark.sandbox, pytest.mark.full]))
# Who waits for a job: a worker, or the triggerer. Each is a DAG of its own.
WHO: Mapping[str, float | None] = {"worker": None, "triggerer": 1.0}
EXECUTION_TIMEOUT = 10.0


@dataclass(frozen=True)
class Scene:
    """A run whose job goes on for long, and its containers."""

    deployed: Deployed
    run: DagRun
    seen: Lives

    def underway(self) -> Scene:
        """Wait until the job has begun, and is waited for by who is to."""
        wait_until(lambda: self.deployed.project.has(self.run.id), "the job has begun")
        deferred = self.deployed.dag_id.endswith("-triggerer")
        self.run.reach("job", "deferred" if deferred else "running")
        if deferred:  # and not only waiting for a triggerer to take it
            wait_until(lambda: any(line.endswith(" starting") for line in self.run.said("job")), "it is taken")
        wait_until(lambda: len(self.containers()) == 1, "its container is seen")
        return self

    def containers(self) -> list[Life]:
        """All containers that the run has had."""
        return self.seen.of("job", stable_run_id(self.run.dag_id, self.run.id, "job", -1))

    def is_quiet(self) -> bool:
        """Whether none of its containers runs."""
        return not any(each.runs for each in self.containers())

    def ends(self, within: float = 20.0) -> None:
        """Its container is ended within the time."""
        wait_until(self.is_quiet, f"no container of {self.run.id} runs", within)

    def go(self) -> None:
        """Tell the job to come to its end."""
        (self.deployed.project.folder / f"go-{self.run.id}").touch()

    def came_to_its_end(self, attempt: int) -> None:
        """The run is a success, by one container, whose lines are all in the log of that try, once and in order."""
        assert self.run.wait() == "success"
        wait_until(lambda: len(self.containers()) == 1, "its container is seen")
        lines = [line for line in self.run.said("job", attempt) if line.startswith("line ")]
        assert len(lines) > 2 and lines == [f"line {i}" for i in range(len(lines))]
        assert self.run.xcom("job") == "to the end"


@dataclass(frozen=True)
class Stage:
    """The project as two DAGs, by who waits for the job, and their containers."""

    deployed: Mapping[str, Deployed]
    seen: Mapping[str, Lives]

    def begin(self, who: str) -> Scene:
        """Start a run."""
        return Scene(self.deployed[who], self.deployed[who].trigger(), self.seen[who])


@contextlib.contextmanager
def staged(airflow: Airflow, factory: pytest.TempPathFactory, engine: str, **dag: object) -> Iterator[Stage]:
    """Both DAGs with further arguments, for as long as it holds."""
    witness = {"docker": lives, "process": process_lives}[engine]
    with contextlib.ExitStack() as stack:
        deployed, seen = {}, {}
        for who in WHO:
            project = Project.written(factory.mktemp(who) / "project", COMPOSE, {}, ends=who)
            seen[who] = stack.enter_context(witness(project.name))
            deployed[who] = Deployed(airflow, project, engine)
            stack.callback(deployed[who].clean)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda who: deployed[who].publish(defer_after=WHO[who], **dag), WHO))
        yield Stage(deployed, seen)


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine, one after the other."""
    return str(request.param)


@pytest.fixture(scope="module")
def stage(airflow: Airflow, tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Stage]:
    """Tasks with one retry, a second later."""
    retries = {"retries": 1, "retry_delay": timedelta(seconds=1)}
    with staged(airflow, tmp_path_factory, engine, default_args=retries) as made:
        yield made


@pytest.fixture(scope="module")
def timed(airflow: Airflow, tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Stage]:
    """Tasks with an execution timeout and no retry."""
    timeout = {"execution_timeout": timedelta(seconds=EXECUTION_TIMEOUT)}
    with staged(airflow, tmp_path_factory, engine, default_args=timeout) as made:
        yield made


@pytest.fixture(scope="module")
def begun(stage: Stage, timed: Stage) -> Mapping[tuple[str, str], Scene]:
    """A run for each way to end a task, all begun at once: what happens to one is nothing to the others."""
    acts = {"marked": stage, "cleared": stage, "killed": stage, "slow": timed}
    scenes = {(act, who): on.begin(who) for act, on in acts.items() for who in WHO}
    return scenes | {("killed with its supervisor", "worker"): stage.begin("worker")}


@pytest.fixture(autouse=True)
def _shown(request: pytest.FixtureRequest, stage: Stage, timed: Stage) -> None:
    request.node.projects = [*stage.deployed.values(), *timed.deployed.values()]


@pytest.mark.parametrize("who", WHO)
def test_marked_as_failed(begun: Mapping[tuple[str, str], Scene], who: str) -> None:
    """The container is stopped within seconds, and no other comes."""
    scene = begun["marked", who].underway()
    scene.run.mark("job", "failed")
    scene.ends()
    assert scene.run.wait() == "failed"
    assert len(scene.containers()) == 1


@pytest.mark.parametrize("who", WHO)
def test_cleared(begun: Mapping[tuple[str, str], Scene], who: str) -> None:
    """The container is stopped, and only then the next try has one of its own."""
    scene = begun["cleared", who].underway()
    scene.run.clear("job")
    assert scene.run.wait() == "success"
    assert len(scene.containers()) == 2
    assert scene.run.xcom("job") == "a try after another"


@pytest.mark.parametrize("who", WHO)
def test_execution_timeout(begun: Mapping[tuple[str, str], Scene], who: str) -> None:
    """It counts from the job's start, over the deferral too: then the container is stopped, and the task has failed."""
    scene = begun["slow", who]
    assert scene.run.wait() == "failed"
    scene.ends(within=5)
    (life,) = scene.containers()
    assert life.ended - life.began < EXECUTION_TIMEOUT + 6


def test_the_process_of_a_task_dies(begun: Mapping[tuple[str, str], Scene]) -> None:
    """Kill -9: the container goes on, and the retry goes on with it, its log from the beginning."""
    scene = begun["killed", "worker"].underway()
    waiting, _ = _processes(scene)
    waiting.kill()
    scene.run.reach("job", "running", attempt=2)
    wait_until(lambda: "line 0" in scene.run.said("job", 2), "the retry has the job's log")
    assert not scene.is_quiet()
    scene.go()
    scene.came_to_its_end(attempt=2)


def test_a_worker_dies(begun: Mapping[tuple[str, str], Scene]) -> None:
    """Kill -9 of the task's process and of its supervisor: the job ends well, and the retry takes its result."""
    scene = begun["killed with its supervisor", "worker"].underway()
    for each in _processes(scene):
        each.kill()
    scene.go()
    scene.came_to_its_end(attempt=2)


def _processes(scene: Scene) -> tuple[psutil.Process, psutil.Process]:
    """Who waits for the job of a run, and who supervises that process, with the task's id in its title."""
    task = scene.run.tasks()["job"]["id"]
    titles = {" ".join(each.cmdline()): each for each in scene.deployed.airflow.family("scheduler")}
    (supervisor,) = (titles[title] for title in titles if task in title and "LocalExecutor" in title)
    wait_until(supervisor.children, "the supervisor has started the task's process")
    # Others are what the task has started; it has its title only after a moment.
    waiting = min(supervisor.children(), key=psutil.Process.create_time)
    return waiting, supervisor


@pytest.mark.parametrize(
    "dead",
    [
        pytest.param(["scheduler"], marks=pytest.mark.full),
        pytest.param(["triggerer"], marks=pytest.mark.full),
        ["scheduler", "triggerer"],
    ],
    ids="-and-".join,
)
def test_a_component_dies(stage: Stage, airflow: Airflow, dead: list[str]) -> None:
    """Kill -9 and a new one: a deferred task goes on where it was, one that a worker waits for comes to a good end."""
    blocking, deferred = (stage.begin(who).underway() for who in WHO)
    for name in dead:
        airflow.kill(name, alone=name == "scheduler")  # whose workers go on, as they do elsewhere
    airflow.restart(*dead)
    # In which PostgreSQL ends the transactions of a dead scheduler, and the new one adopts or resets what that had.
    time.sleep(20)
    for each in (blocking, deferred):
        each.go()
    deferred.came_to_its_end(attempt=1)
    assert blocking.run.wait(120) == "success"
    blocking.ends()


@pytest.mark.full
def test_marked_before_a_triggerer_has_it(stage: Stage, airflow: Airflow) -> None:
    """Then Airflow tells nobody: the container is ended when nobody has seen to it for long enough."""
    airflow.kill("triggerer")
    try:
        scene = stage.begin("triggerer")
        scene.run.reach("job", "deferred")
        scene.run.mark("job", "failed")
        scene.ends(within=float(airflow.environment["GIGOGNE_ABANDONED_AFTER"]) + 15)
    finally:
        airflow.restart("triggerer")


@contextlib.contextmanager
def _dead(airflow: Airflow) -> Iterator[None]:
    """Nobody of Airflow lives while it holds; in the end it is started again."""
    for name in COMPONENTS:
        airflow.kill(name)
    try:
        yield
    finally:
        airflow.restart(*COMPONENTS)


def test_all_of_airflow_dies(timed: Stage, airflow: Airflow) -> None:
    """Kill -9 of every process: the container is ended at its deadline, and a new Airflow ends the run."""
    scenes = [timed.begin(who).underway() for who in WHO]
    with _dead(airflow):
        for each in scenes:
            each.ends(within=EXECUTION_TIMEOUT + 15)
    ended = dict(zip(WHO, [each.run.wait(120) for each in scenes], strict=True))
    # What its worker waited for, Airflow fails or starts anew: whether it misses the process first or the scheduler.
    assert ended["triggerer"] == "failed"


@pytest.mark.full
def test_all_of_airflow_dies_without_a_deadline(stage: Stage, airflow: Airflow) -> None:
    """Then the container is ended when nobody has seen to it for long enough, and a new Airflow tries once more."""
    scenes = [stage.begin(who).underway() for who in WHO]
    with _dead(airflow):
        for each in scenes:
            each.ends(within=float(airflow.environment["GIGOGNE_ABANDONED_AFTER"]) + 15)
    assert [each.run.wait(120) for each in scenes] == ["success", "success"]


def test_ended_at_any_moment(stage: Stage) -> None:
    """Marked as failed, cleared or killed while it starts: nothing stays, and the try that follows is not disturbed."""
    chance = random.Random(os.environ.get("GIGOGNE_TEST_SEED", "airflow"))
    acts: list[tuple[str, Callable[[Scene], object]]] = [
        ("failed", lambda scene: scene.run.mark("job", "failed")),
        ("success", lambda scene: scene.run.clear("job")),
        ("success", lambda scene: _processes(scene)[0].kill()),
    ]
    rounds = [(end, act, chance.uniform(0, 5)) for end, act in acts for _ in range(10 if FULL else 2)]

    def one(end: str, act: Callable[[Scene], object], moment: float) -> None:
        scene = stage.begin("worker")
        scene.run.reach("job", "running")
        time.sleep(moment)
        act(scene)
        if scene.run.state() not in DONE:
            scene.go()
        assert scene.run.wait(120) == end, (moment, scene.run.id)
        scene.ends()

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(one, *each) for each in rounds]:
            done.result()


def test_never_two_at_once(stage: Stage, timed: Stage) -> None:
    """In all that happened in this module, no task had two containers at a time; `gigogne down` ends those of now."""
    for who in WHO:
        for each in (stage, timed):
            down = each.deployed[who].beside.run("down")
            assert down.returncode == 0, down.stderr
            seen = each.seen[who]
            wait_until(seen.are_over, "all have ended", 10)
            assert not seen.at_once()
