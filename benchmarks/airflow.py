"""What a Compose project as a DAG costs, against the same containers as stock DockerOperators, on one running Airflow.

    python benchmarks/airflow.py chain --rounds 10       5 jobs that do nothing, one after the other
    python benchmarks/airflow.py project --rounds 3      40 short jobs: one task, against one task a job
    python benchmarks/airflow.py project --engine process    the same without Docker
    python benchmarks/airflow.py waiting                 20 jobs of a minute, side by side: slots and memory

Seconds are Airflow's own, from the trigger of a DAG run to its end. A slot-second is one task instance that holds a
worker for one second. Memory is that of all of Airflow's processes (their proportional set size), less what they held
before. It needs Airflow with its Docker provider (`pip install -e '.[airflow,test]' apache-airflow-providers-docker`)
and a Docker engine with `busybox:1.36`.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.paired import Seconds, machine, measure  # noqa: E402
from tests.airflow.rest import DagRun  # noqa: E402
from tests.airflow.server import COMPONENTS, Airflow  # noqa: E402

IMAGE = "busybox:1.36"
STOCK, OURS, PROJECT = "DockerOperator", "ComposeDag", 'ComposeDag(render="project")'
_STOCK = """\
from airflow.providers.docker.operators.docker import DockerOperator
from airflow.sdk import DAG

like = {{"image": "{image}", "command": {command!r}, "auto_remove": "force", "mount_tmp_dir": False}}
with DAG("{dag_id}", max_active_tasks=64) as dag:
    tasks = [DockerOperator(task_id=f"job{{n}}", **like) for n in range({count})]
    if {chained}:
        for before, after in zip(tasks, tasks[1:]):
            before >> after
"""
_OURS = """\
from gigogne.airflow import ComposeDag

dag = ComposeDag(dag_id="{dag_id}", project="{folder}", engine="{engine}", render="{render}", max_active_tasks=64)
"""


@dataclass(frozen=True)
class Jobs:
    """So many containers that run one command, one after the other or side by side."""

    name: str
    count: int
    command: list[str]
    chained: bool = True

    def deploy(
        self, airflow: Airflow, folder: Path, *, stock: bool, render: str = "services", engine: str = "docker"
    ) -> str:
        """Make a DAG of them: its id."""
        if stock:
            dag_id = f"{self.name}-stock"
            airflow.dag(dag_id, _STOCK.format(dag_id=dag_id, image=IMAGE, **vars(self)))
            return dag_id
        dag_id = f"{self.name}-{render}"
        project = folder / dag_id
        project.mkdir()
        (project / "docker-compose.yml").write_text(self.compose(dag_id), encoding="utf-8")
        airflow.dag(dag_id, _OURS.format(dag_id=dag_id, folder=project, render=render, engine=engine))
        return dag_id

    def compose(self, name: str) -> str:
        """Them as a Compose file."""
        lines = [f"name: bench-{name}", "services:"]
        for number in range(self.count):
            lines += [f"  job{number}:", f'    image: "{IMAGE}"', f"    command: {self.command}"]
            if self.chained and number:
                lines += [f"    depends_on: {{job{number - 1}: {{condition: service_completed_successfully}}}}"]
        return "\n".join(lines)


def main() -> None:
    """Measure, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("what", choices=("chain", "project", "waiting"))
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--engine", default="docker", help="that of `project`")
    options.add_argument("--seconds", type=int, default=60, help="how long a waiting job takes")
    given = options.parse_args()
    before = machine()
    with _airflow() as (airflow, folder):
        if given.what == "chain":
            jobs = Jobs("chain", 5, ["true"])
            contenders = {
                STOCK: _run(airflow, jobs.deploy(airflow, folder, stock=True)),
                OURS: _run(airflow, jobs.deploy(airflow, folder, stock=False)),
            }
            print(f"{before}\n{measure(contenders, given.rounds).table(STOCK)}")
        elif given.what == "project":
            jobs = Jobs("many", 40, ["true"])
            contenders = {
                OURS: _run(airflow, jobs.deploy(airflow, folder, stock=False, engine=given.engine)),
                PROJECT: _run(
                    airflow, jobs.deploy(airflow, folder, stock=False, render="project", engine=given.engine)
                ),
            }
            print(f"{before}\n{measure(contenders, given.rounds, warm_up=False).table(OURS)}")
        else:
            jobs = Jobs("waiting", 20, ["sleep", str(given.seconds)], chained=False)
            print(f"{before}\n{_waiting(airflow, folder, jobs, given.rounds)}")


@contextmanager
def _airflow() -> Iterator[tuple[Airflow, Path]]:
    """A running Airflow, and a folder for projects."""
    with tempfile.TemporaryDirectory(prefix="gigogne-bench-", ignore_cleanup_errors=True) as place:
        home, projects, data = (Path(place) / name for name in ("home", "projects", "data"))
        for each in (home, projects, data):
            each.mkdir()
        # Room for all that wait: DockerOperator needs a process for each.
        airflow = Airflow.made_in(home, GIGOGNE_DATA_DIR=str(data), AIRFLOW__CORE__PARALLELISM="32")
        try:
            airflow.boot()
            yield airflow, projects
        finally:
            airflow.close()


def _run(airflow: Airflow, dag_id: str) -> Callable[[], Seconds]:
    """A contender: a run of a DAG, by Airflow's own clock."""
    return lambda: Seconds(_seconds(_succeeded(airflow.trigger(dag_id))))


def _succeeded(run: DagRun) -> DagRun:
    state = run.wait(900)
    if state != "success":
        sys.exit(f"{run.dag_id} ended in {state}: {run.states()}")
    return run


def _seconds(run: DagRun) -> float:
    facts = run.api.ask("GET", run.path)
    began, ended = (datetime.fromisoformat(facts[key]).timestamp() for key in ("queued_at", "end_date"))
    return ended - began


@dataclass
class Watch:
    """What a run holds while it waits, looked at every second."""

    slots: list[int] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def follow(self, airflow: Airflow, run: DagRun, over: threading.Event) -> None:
        """Look until it is over."""
        while not over.is_set():
            self.slots.append(sum(state == "running" for state in run.states().values()))
            self.memory.append(_held(airflow))
            over.wait(1)

    @property
    def slot_seconds(self) -> float:
        """Task instances in a worker, added up over time."""
        return statistics.fmean(self.slots) * (time.monotonic() - self.began)


def _waiting(airflow: Airflow, folder: Path, jobs: Jobs, rounds: int) -> str:
    """A table of slots and memory, the two in turn."""
    dags = {STOCK: jobs.deploy(airflow, folder, stock=True), OURS: jobs.deploy(airflow, folder, stock=False)}
    rows = ["| | slot-seconds | most slots at once | memory of Airflow, MB more at its median | seconds |"]
    rows += ["|---|---|---|---|---|"]
    for _ in range(rounds):
        for name, dag_id in dags.items():
            time.sleep(10)  # what the last run held is given back
            idle, over, watch = _held(airflow), threading.Event(), Watch()
            run = airflow.trigger(dag_id)
            looking = threading.Thread(target=watch.follow, args=(airflow, run, over), daemon=True)
            looking.start()
            seconds = _seconds(_succeeded(run))
            over.set()
            slots = watch.slot_seconds
            looking.join()
            more = statistics.median(watch.memory) - idle
            rows.append(f"| {name} | {slots:.0f} | {max(watch.slots)} | {more:.0f} | {seconds:.0f} |")
    return "\n".join(rows)


def _held(airflow: Airflow) -> float:
    """The memory of all of Airflow's processes, in MB; what they share is counted once."""
    total = 0.0
    for name in COMPONENTS:
        for each in airflow.family(name):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += each.memory_full_info().pss / 2**20
    return total


if __name__ == "__main__":
    main()
