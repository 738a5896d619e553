"""Airflow's REST API, as far as the tests ask it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

__all__ = ["DONE", "Api", "DagRun"]

DONE = frozenset({"success", "failed"})


@dataclass
class Api:
    """Airflow's REST API for one user."""

    url: str
    user: str
    password: str = field(repr=False)
    _token: str = field(default="", repr=False)

    def ask(self, method: str, path: str, body: object = None, **query: object) -> Any:
        """What the API answers, from JSON; an answer that is an error is raised with its text."""
        return json.loads(self.text(method, f"/api/v2{path}", body, **query) or "null")

    def text(self, method: str, path: str, body: object = None, **query: object) -> str:
        """What the API answers at a path of the server, as text."""
        if not self._token:
            login = {"username": self.user, "password": self.password}
            self._token = json.loads(self._send("POST", "/auth/token", login))["access_token"]
        asked = f"{path}?{urllib.parse.urlencode(query, doseq=True)}" if query else path
        for pause in (0.3, 1.0, 3.0, 0.0):
            try:
                return self._send(method, asked, body)
            except urllib.error.HTTPError as error:
                with error:
                    said = f"{method} {asked}: {error.code} {error.read().decode(errors='replace')}"
            if not pause or "Database error" not in said:
                break
            time.sleep(pause)  # SQLite refuses one of two who write at once
        raise AssertionError(said)

    def _send(self, method: str, path: str, body: object) -> str:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return str(answer.read().decode())

    def health(self) -> dict[str, dict[str, Any]]:
        """Component → its status and when it was `heard` last; empty while nobody answers."""
        try:
            found: dict[str, dict[str, Any]] = json.loads(self._send("GET", "/api/v2/monitor/health", None))
        except OSError:
            return {}
        for name, each in found.items():
            if beat := each.get(f"latest_{name}_heartbeat"):
                each["heard"] = datetime.fromisoformat(beat).timestamp()
        return found

    def knows(self, dag_id: str, since: float = 0.0) -> bool:
        """Whether the DAG is parsed, after `since` (seconds since the epoch)."""
        found = {each["dag_id"]: each for each in self.ask("GET", "/dags", dag_id_pattern=dag_id)["dags"]}
        return dag_id in found and datetime.fromisoformat(found[dag_id]["last_parsed_time"]).timestamp() >= since

    def import_errors(self, file: str) -> list[str]:
        """What is wrong with a DAG file, as the UI shows it."""
        errors = self.ask("GET", "/importErrors", limit=100)["import_errors"]
        return [each["stack_trace"] for each in errors if each["filename"].endswith(file)]

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> DagRun:
        """Start a run of a DAG, which need not be unpaused."""
        self.ask("PATCH", f"/dags/{dag_id}", {"is_paused": False})
        made = self.ask("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})
        return DagRun(self, dag_id, made["dag_run_id"])

    def connect(self, name: str, **connection: object) -> None:
        """Make a connection."""
        self.ask("POST", "/connections", {"connection_id": name, **connection})


@dataclass(frozen=True)
class DagRun:
    """One run of a DAG."""

    api: Api
    dag_id: str
    id: str

    @property
    def path(self) -> str:
        """Where the API has it."""
        return f"/dags/{self.dag_id}/dagRuns/{urllib.parse.quote(self.id)}"

    def state(self) -> str:
        """The run's state: queued, running, success, failed."""
        return str(self.api.ask("GET", self.path)["state"])

    def tasks(self) -> dict[str, dict[str, Any]]:
        """The task instances, by task id."""
        found = self.api.ask("GET", f"{self.path}/taskInstances", limit=100)["task_instances"]
        return {each["task_id"]: each for each in found}

    def states(self) -> dict[str, str]:
        """Task id → state of the task instance."""
        return {name: str(each["state"]) for name, each in self.tasks().items()}

    def wait(self, seconds: float = 90.0) -> str:
        """Wait for the run's end: its state."""
        deadline = time.monotonic() + seconds
        while (state := self.state()) not in DONE:
            assert time.monotonic() < deadline, f"{self.id} is {state} after {seconds:g} s: {self.states()}"
            time.sleep(0.3)
        return state

    def reach(self, task: str, *states: str, attempt: int = 1, seconds: float = 60.0) -> dict[str, Any]:
        """Wait until a task is in one of the states, in that try or a later one: its task instance."""
        deadline = time.monotonic() + seconds
        while True:
            instance = self.tasks()[task]
            if instance["state"] in states and instance["try_number"] >= attempt:
                return instance
            assert time.monotonic() < deadline, (
                f"{task} is {instance['state']} (try {instance['try_number']}): {states}"
            )
            time.sleep(0.2)

    def log(self, task: str, attempt: int = 1) -> list[dict[str, Any]]:
        """The log of a try as the UI shows it: one dictionary a line, its text in `event`."""
        content = self.api.ask("GET", f"{self.path}/taskInstances/{task}/logs/{attempt}", full_content=True)["content"]
        return [each if isinstance(each, dict) else {"event": each} for each in content]

    def said(self, task: str, attempt: int = 1) -> list[str]:
        """The texts of the lines of a task's log."""
        return [str(each["event"]) for each in self.log(task, attempt)]

    def xcom(self, task: str) -> Any:
        """What a task returned."""
        path = f"{self.path}/taskInstances/{task}/xcomEntries/return_value"
        return self.api.ask("GET", path, deserialize=False, stringify=False)["value"]

    def rendered(self, task: str) -> dict[str, Any]:
        """The rendered fields of a task, as the UI shows them."""
        return dict(self.api.ask("GET", f"{self.path}/taskInstances/{task}")["rendered_fields"])

    def mark(self, task: str, state: str = "failed") -> None:
        """What "Mark state as ..." does in the UI."""
        self.api.ask("PATCH", f"{self.path}/taskInstances/{task}", {"new_state": state})

    def clear(self, *tasks: str) -> None:
        """What "Clear task" does in the UI: the tasks and those after them run again."""
        body = {
            "dry_run": False,
            "dag_run_id": self.id,
            "task_ids": list(tasks),
            "only_failed": False,
            "include_downstream": True,
            "reset_dag_runs": True,
        }
        self.api.ask("POST", f"/dags/{self.dag_id}/clearTaskInstances", body)
