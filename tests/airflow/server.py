"""A real Airflow for tests: each component is a process of its own, which a test can kill and start again."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tests.airflow.database import Database, running_database
from tests.airflow.rest import Api, DagRun
from tests.conftest import free_ports

__all__ = ["COMPONENTS", "EMPTY", "Airflow", "wait_until"]

# The database as it was made: to make another one takes a while.
EMPTY = "empty"
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")

# What is short here is short so that a death is noticed in seconds.
_SETTINGS: Mapping[str, Mapping[str, object]] = {
    "core": {
        "executor": "LocalExecutor",
        "parallelism": 12,
        "load_examples": False,
        # What the metadata database holds is to be read: the tests look for secrets in it.
        "fernet_key": "",
        "simple_auth_manager_users": "admin:admin",
        "min_serialized_dag_update_interval": 0,
    },
    # What they say of themselves every second would hide what they say of a task.
    "logging": {
        "namespace_levels": "http.access=WARNING airflow.dag_processing.manager.DagFileProcessorManager=WARNING"
    },
    "database": {"load_default_connections": False},
    "dag_processor": {
        "refresh_interval": 1,
        "bundle_refresh_check_interval": 1,
        "min_file_process_interval": 3600,
        "print_stats_interval": 0,
    },
    "scheduler": {
        "scheduler_idle_sleep_time": 0.5,
        "scheduler_heartbeat_sec": 2,
        "scheduler_health_check_threshold": 8,
        "orphaned_tasks_check_interval": 3,
        "task_instance_heartbeat_timeout": 15,
        "task_instance_heartbeat_timeout_detection_interval": 2,
    },
    "workers": {"min_heartbeat_interval": 1},
    "triggerer": {"job_heartbeat_sec": 2, "triggerer_health_check_threshold": 8},
}


def wait_until(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait until the condition holds; `what` is said where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds:g} s: {what}"
        time.sleep(0.1)


@dataclass
class Airflow:
    """Airflow in a home of its own: LocalExecutor, PostgreSQL, and the four components.

    Attributes:
        home: `AIRFLOW_HOME`: DAG files, logs of tasks and of components.
        environment: What the components and `airflow` commands are started with.
        api: The REST API.
        database: Where the metadata is; there from the boot on.
    """

    home: Path
    environment: dict[str, str]
    api: Api
    database: Database
    components: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _open: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @classmethod
    def made_in(cls, home: Path, **environment: str) -> Airflow:
        """An Airflow that is not started yet; `environment` is set for its components."""
        port, scheduler_logs, triggerer_logs, database = itertools.islice(free_ports(), 4)
        url = f"http://127.0.0.1:{port}"
        passwords = home / "passwords.json"
        passwords.write_text(json.dumps({"admin": "admin"}), encoding="utf-8")
        settings = {f"AIRFLOW__{s}__{k}".upper(): str(v) for s, group in _SETTINGS.items() for k, v in group.items()}
        settings |= {
            "AIRFLOW_HOME": str(home),
            "PYTHONDONTWRITEBYTECODE": "",  # each task's process imports anew
            "AIRFLOW__API__BASE_URL": url,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            **Database(database).settings(),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(scheduler_logs),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(triggerer_logs),
        }
        (home / "dags").mkdir()
        return cls(home, {**os.environ, **settings, **environment}, Api(url, "admin", "admin"), Database(database))

    def boot(self) -> None:
        """Make the database and start all components."""
        self._open.enter_context(running_database(self.database.port))
        self.command("db", "migrate")
        self.database.copy("airflow", EMPTY)
        self.restart(*COMPONENTS)

    def command(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run `airflow` with these arguments to its end, which must be good."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done

    def start(self, name: str) -> None:
        """Start a component, as the leader of a session."""
        # Logs are read from the disk that all share: no component need serve them.
        quiet = ["--skip-serve-logs"] if name in {"scheduler", "triggerer"} else []
        with self.said_by(name).open("ab") as log:
            self.components[name] = subprocess.Popen(
                [sys.executable, "-m", "airflow", name, *quiet],
                cwd=self.home,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self, name: str, *, alone: bool = False) -> None:
        """Kill -9 a component with all that it has started, as a machine dies; or it `alone`."""
        for each in self.family(name)[: 1 if alone else None]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        self.components[name].wait(30)

    def family(self, name: str) -> list[psutil.Process]:
        """The processes of a component: itself, and Airflow's own below it, in whatever session."""
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            leader = psutil.Process(self.components[name].pid)
            for each in [leader, *leader.children(recursive=True)]:
                # The reaper, which is to outlive Airflow, is a child of the task that has started it until that ends.
                if "reap" not in each.cmdline():
                    found.append(each)
        return found

    def restart(self, *names: str) -> None:
        """Start components that do not run; returns when all of Airflow says that it is healthy since then."""
        began = time.time()
        for name in names:
            self.start(name)
        wait_until(lambda: self.is_healthy(since=began), "Airflow is healthy", 120)

    def is_healthy(self, since: float = 0.0) -> bool:
        """Whether every component says so, with a sign of life after `since` (seconds since the epoch)."""
        self.check_alive()
        health = self.api.health()
        return len(health) == 4 and all(
            each["status"] == "healthy" and each.get("heard", since) >= since for each in health.values()
        )

    def check_alive(self) -> None:
        """No component has ended by itself.

        Raises:
            AssertionError: One has; what it said.
        """
        for name, process in self.components.items():
            assert process.poll() is None, f"airflow {name} ended: {self.said_by(name).read_text()[-4000:]}"

    def said_by(self, name: str) -> Path:
        """Where a component writes its log."""
        return self.home / f"{name}.log"

    def dag(self, dag_id: str, text: str) -> None:
        """Write a DAG file and wait until Airflow knows it.

        Raises:
            AssertionError: Airflow cannot import it; says why.
        """
        path = self.home / "dags" / f"{dag_id}.py"
        partial = path.with_suffix(".part")
        partial.write_text(text, encoding="utf-8")
        began = time.time()
        partial.replace(path)

        def known() -> bool:
            self.check_alive()
            errors = self.api.import_errors(path.name)
            assert not errors, errors[0]
            return self.api.knows(dag_id, since=began)

        wait_until(known, f"the DAG {dag_id} is parsed")

    def trigger(self, dag_id: str, **conf: object) -> DagRun:
        """Start a run of a DAG."""
        return self.api.trigger(dag_id, conf)

    def task_logs(self, dag_id: str) -> Iterator[Path]:
        """The log files of a DAG's tasks, triggerer's included."""
        return (path for path in (self.home / "logs" / f"dag_id={dag_id}").rglob("*") if path.is_file())

    def close(self) -> None:
        """Stop all components in good order, and kill what is left of them."""
        for process in self.components.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        psutil.wait_procs(self._all(), timeout=10)
        for each in self._all():
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        for process in self.components.values():
            process.wait(10)
        self._open.close()

    def _all(self) -> list[psutil.Process]:
        """Every process that has this Airflow's home, those included whose parents were killed."""
        found = []
        for each in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if each.environ().get("AIRFLOW_HOME") == str(self.home):
                    found.append(each)
        return found
