"""monitor as a process, for the tests that ask it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from typing import Any

from tests.conftest import free_port
from tests.stack.conftest import environment

__all__ = ["AWAY", "TOKEN", "Monitor", "payload", "running"]

TOKEN = "token-7"
SERIES = re.compile(r"^(\w+(?:\{.*\})?) (\S+)$", re.MULTILINE)
# All that it looks at and asks is away.
AWAY = {
    "AIRFLOW_URL": "http://127.0.0.1:9",
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_SECRET_ACCESS_KEY": "b",
    "ML_DATABASE_URI": "postgresql://127.0.0.1:9/x",
}


@dataclass
class Monitor:
    """The program, and where it is."""

    process: subprocess.Popen[str]
    port: int

    def ask(
        self, path: str, body: bytes | None = None, token: str | None = TOKEN, **headers: str
    ) -> tuple[int, str, dict[str, str]]:
        """Status, text and headers of an answer."""
        given = {**headers, **({"Authorization": f"Bearer {token}"} if token is not None else {})}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, given)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode(), lower(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(), lower(error.headers)

    def metrics(self) -> dict[str, float]:
        """All series now."""
        return {name: float(value) for name, value in SERIES.findall(self.ask("/metrics")[1])}

    def shows(self, name: str, value: float | None, seconds: float = 60) -> dict[str, float]:
        """Wait until a series has this value; None is its absence. All series then."""
        deadline = time.monotonic() + seconds
        while (found := self.metrics()).get(name) != value:
            assert time.monotonic() < deadline, (name, value, found)
            time.sleep(0.1)
        return found

    def end(self) -> tuple[str, str]:
        """Send it SIGTERM, by which it ends; all that it said."""
        self.process.terminate()
        said = self.process.communicate(timeout=60)
        assert self.process.returncode == 143
        return said

    def alert(self) -> tuple[int, str, dict[str, str]]:
        """Send it an alert that asks for a retraining."""
        return self.ask("/alerts", payload())


def lower(headers: Message) -> dict[str, str]:
    """Headers by their names in lower case."""
    return {name.lower(): value for name, value in headers.items()}


def payload(version: object = 3, count: int = 1, project: str = "", **other: Any) -> bytes:
    """What Alertmanager sends: so many alerts about a version of a model, the catalogue's if no project is named."""
    named = {"project": project} if project else {}
    alert = {
        "status": "firing",
        "labels": {"alertname": "TextDrift", "action": "retrain", "version": str(version), **named},
        "annotations": {},
        "startsAt": "2026-11-22T13:00:00.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": "a1b2c3d4e5f60718",
        **other,
    }
    return json.dumps({"version": "4", "groupKey": "{}", "status": "firing", "alerts": [alert] * count}).encode()


@contextmanager
def running(**variables: object) -> Iterator[Monitor]:
    """A monitor that is told this, and otherwise that all is away; from when it answers to the end of the test."""
    port = free_port()
    given = environment(**{"MONITOR_TOKEN": TOKEN, "MONITOR_PORT": port, **AWAY, **variables})
    command, pipe = [sys.executable, "-m", "monitoring.server"], subprocess.PIPE
    with subprocess.Popen(command, env=given, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            made = Monitor(process, port)
            _answers(made)
            yield made
        finally:
            process.kill()


def _answers(monitor: Monitor) -> None:
    """Wait until it does."""
    deadline = time.monotonic() + 30
    while True:
        try:
            assert monitor.ask("/health")[:2] == (200, "ok\n")
            return
        except OSError:
            assert monitor.process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
