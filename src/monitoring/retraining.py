"""A retraining, asked of Airflow's REST API. What was asked before is read from Airflow, and remembered nowhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError, ReadTimeoutError

from job.errors import JobError

__all__ = ["Airflow", "AirflowError", "Answer", "Outcome"]

# Seconds for one answer of Airflow.
PATIENCE = 5.0
Runs = Sequence[dict[str, Any]]
"""What Airflow says of runs."""
ACTIVE, DEAD = frozenset({"queued", "running"}), "failed"
# So many of the newest runs are looked at; of those of a schedule, which nobody has asked for, only what is under way.
NEWEST = 50
ASKED_FOR = f"run_type=manual&order_by=-run_after&limit={NEWEST}"
UNDER_WAY = "state=queued&state=running&limit=1"


class AirflowError(JobError):
    """Airflow did not start a run: one line that says why, and what to do."""


class Outcome(StrEnum):
    """What became of a wish for a retraining."""

    STARTED = "started"
    REPEATED = "repeated"
    RUNNING = "running"
    TOO_SOON = "too_soon"
    FAILED = "failed"


@dataclass(frozen=True)
class Answer:
    """What became of one wish.

    Attributes:
        outcome: That.
        run_id: The run that is the wish's, or would be.
        dead: The wish's run before that, which failed; empty where none did.
    """

    outcome: Outcome
    run_id: str
    dead: str = ""


@dataclass(frozen=True)
class Airflow:
    """The Airflow that trains, and the DAG that does it.

    Attributes:
        url: Where its API server is.
        user: Who asks.
        password: That user's.
        dag: The DAG's id.
        pause: No run is asked for within this time after another one was.
        setting: The variable that names the DAG.
    """

    url: str = field(repr=False)
    user: str
    password: str = field(repr=False)
    dag: str
    pause: timedelta
    setting: str = "RETRAIN_DAG"

    def retrain(self, version: int) -> Answer:
        """Start a run that trains anew what has this version.

        None is started where the version has a run that did not fail, another run is under way, or one that was asked
        for began a short time ago. A version whose runs have all failed gets one more.

        Raises:
            AirflowError: Airflow does not answer, or refuses; nothing was started then.
        """
        with urllib3.PoolManager(timeout=PATIENCE, retries=False) as pool:
            try:
                login = {"username": self.user, "password": self.password}
                token = self._json(pool.request("POST", f"{self.url}/auth/token", json=login))["access_token"]
                pool.headers = {"Authorization": f"Bearer {token}"}
                dag = f"{self.url}/api/v2/dags/{self.dag}"
                asked_for, under_way = (
                    self._json(pool.request("GET", f"{dag}/dagRuns?{which}"))["dag_runs"]
                    for which in (ASKED_FOR, UNDER_WAY)
                )
                return self._answer(pool, dag, f"retrain__v{version}", asked_for, under_way)
            except HTTPError as error:
                cause = error.reason if isinstance(error, MaxRetryError) else error
                what = "answers too slowly" if isinstance(cause, ReadTimeoutError) else "does not answer"
                start = "start it (docker compose up -d airflow-webserver) or correct AIRFLOW_URL"
                raise AirflowError(f"Airflow {what}: {start}") from None
            except (KeyError, TypeError, ValueError):
                raise AirflowError("what answers is no Airflow 3: correct AIRFLOW_URL") from None

    def _answer(self, pool: urllib3.PoolManager, dag: str, wish: str, runs: Runs, under_way: Runs) -> Answer:
        """What becomes of a wish, after these runs that somebody asked for, the newest first."""
        tries = {run["dag_run_id"]: int(found[1] or 1) for run in runs if (found := _try_of(wish, run["dag_run_id"]))}
        alive = next((run["dag_run_id"] for run in runs if run["dag_run_id"] in tries and run["state"] != DEAD), None)
        if alive is not None:
            return Answer(Outcome.REPEATED, alive)
        run_id = f"{wish}__try{max(tries.values()) + 1}" if tries else wish
        outcome = self._reason_against(runs, under_way) or self._start(pool, dag, run_id)
        return Answer(outcome, run_id, next(iter(tries), ""))

    def _reason_against(self, runs: Runs, under_way: Runs) -> Outcome | None:
        """Why none is to be started now, of whatever wish."""
        if any(run["state"] in ACTIVE for run in under_way):
            return Outcome.RUNNING
        last = max((datetime.fromisoformat(run["run_after"]) for run in runs), default=None)
        if last is not None and datetime.now(UTC) - last < self.pause:
            return Outcome.TOO_SOON
        return None

    def _start(self, pool: urllib3.PoolManager, dag: str, run_id: str) -> Outcome:
        # Airflow takes runs of a paused DAG, and lets them wait for as long as it is paused.
        if self._json(pool.request("GET", dag))["is_paused"]:
            raise AirflowError(f"the DAG {self.dag} is paused, so nothing would run: unpause it in Airflow")
        wish: dict[str, Any] = {
            "dag_run_id": run_id,
            "logical_date": None,
            "conf": {},
            "note": "Asked for by an alert.",
        }
        answer = pool.request("POST", f"{dag}/dagRuns", json=wish)
        if answer.status == HTTPStatus.CONFLICT:
            return Outcome.REPEATED
        self._json(answer)
        return Outcome.STARTED

    def _json(self, answer: urllib3.BaseHTTPResponse) -> Any:
        """What it answers; what a refusal means is raised."""
        if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise AirflowError(f"Airflow lets {self.user} not do it: correct AIRFLOW_USER and AIRFLOW_PASSWORD")
        if answer.status == HTTPStatus.NOT_FOUND:
            raise AirflowError(f"Airflow knows no DAG {self.dag}: look at its import errors, or correct {self.setting}")
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            raise AirflowError(f"Airflow refuses with HTTP {answer.status}: look at its log")
        return answer.json()


def _try_of(wish: str, run_id: str) -> re.Match[str] | None:
    """Whether a run is the wish's, and which try of it."""
    return re.fullmatch(rf"{re.escape(wish)}(?:__try([0-9]+))?", run_id)
