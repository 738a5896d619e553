"""A real Prometheus and a real Alertmanager, on the stack's own configuration with other addresses in it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from tests.conftest import REPOSITORY, free_port
from tests.stack.conftest import environment

MONITORING = REPOSITORY / "docker" / "monitoring"
TOKEN = MONITORING / "secrets" / "monitor_token"
# How long things take in a test. What an alert looks back on stays as it is.
HURRIED = {
    # Also the time that a target has to answer, of which a busy machine needs some.
    "scrape_interval": "2s",
    "evaluation_interval": "500ms",
    "for": "0s",
    "keep_firing_for": "0s",
    "group_wait": "100ms",
    "group_interval": "1s",
}
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Observed:
    """Where a Prometheus and its Alertmanager are, and what they say."""

    prometheus: str
    alertmanager: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an expression is now: series with their `metric` and their `value`."""
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def value(self, expression: str) -> float | None:
        """What an expression of one series, or of none, is now."""
        series = self.query(expression)
        assert len(series) <= 1, series
        return float(series[0]["value"][1]) if series else None

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        return {alert["labels"]["alertname"] for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"}

    def ask(self, what: str, **parameters: str) -> Any:
        """What Prometheus's API answers."""
        return fetch(f"{self.prometheus}/api/v1/{what}?{urllib.parse.urlencode(parameters)}")["data"]

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that Alertmanager has, with their receivers, and with what inhibits them."""
        found: list[dict[str, Any]] = fetch(f"{self.alertmanager}/api/v2/alerts")
        return found


def fetch(url: str, body: object = None) -> Any:
    """The JSON of an answer.

    Raises:
        AssertionError: It is an error; what it says.
    """
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        with error:
            raise AssertionError(f"{url}: {error.code} {error.read().decode(errors='replace')}") from None
    return json.loads(text) if text else None


def eventually(look: Callable[[], _Answer | None], seconds: float = 60) -> _Answer:
    """What is seen, as soon as it is something.

    Raises:
        AssertionError: It stayed nothing.
    """
    deadline = time.monotonic() + seconds
    while True:
        if seen := look():
            return seen
        assert time.monotonic() < deadline, f"{look} saw nothing for {seconds:.0f} s"
        time.sleep(0.1)


@contextmanager
def observed(replaced: Mapping[str, str], *, hurry: bool = True) -> Iterator[Observed]:
    """Prometheus and Alertmanager, up for as long as this holds, on a copy of docker/monitoring.

    Args:
        replaced: What stands in the copy for what is there, such as 127.0.0.1:8123 for `api:8000`.
        hurry: Look every two seconds, and let alerts fire and be sent at once.
    """
    prometheus, alertmanager = (f"127.0.0.1:{free_port()}" for _ in range(2))
    own = {"localhost:9090": prometheus, "alertmanager:9093": alertmanager, "/run/secrets/monitor_token": str(TOKEN)}
    with tempfile.TemporaryDirectory(prefix="gigogne-observed-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for part in ("prometheus", "alertmanager"):
            shutil.copytree(MONITORING / part, folder / part)
        for file in folder.rglob("*.yml"):
            written = yaml.safe_load(file.read_text(encoding="utf-8"))
            file.write_text(yaml.safe_dump(rewritten(written, {**own, **replaced}, hurry)), encoding="utf-8")
        with (
            _server(alertmanager, folder, "prometheus-alertmanager", "alertmanager", "--cluster.listen-address="),
            _server(prometheus, folder, "prometheus", "prometheus"),
        ):
            yield Observed(f"http://{prometheus}", f"http://{alertmanager}")


@contextmanager
def monitor(**variables: object) -> Iterator[str]:
    """The address of `python -m monitoring.server` with these variables, up for as long as this holds."""
    address = f"127.0.0.1:{free_port()}"
    own = {"MONITOR_PORT": address.partition(":")[2], "MONITOR_POLL": 2, "MONITOR_TOKEN_FILE": TOKEN}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "monitoring.server"]
        with _process(command, Path(folder) / "log", f"http://{address}/health", environment(**{**own, **variables})):
            yield address


def rewritten(part: Any, replaced: Mapping[str, str], hurry: bool, key: str = "") -> Any:
    """A part of a file with other addresses, and shorter times."""
    if isinstance(part, dict):
        return {name: rewritten(each, replaced, hurry, name) for name, each in part.items()}
    if isinstance(part, list):
        return [rewritten(each, replaced, hurry) for each in part]
    if not isinstance(part, str):
        return part
    if hurry and (short := HURRIED.get(key)):
        return short
    for before, after in replaced.items():
        part = part.replace(before, after)
    return part


@contextmanager
def _server(address: str, folder: Path, program: str, name: str, *options: str) -> Iterator[None]:
    command = [program, f"--config.file={folder / name / name}.yml", f"--web.listen-address={address}", *options]
    command.append(f"--storage.{'tsdb.' if name == 'prometheus' else ''}path={folder / 'data' / name}")
    with _process(command, folder / f"{name}.log", f"http://{address}/-/ready"):
        yield


@contextmanager
def _process(command: list[str], log: Path, health: str, env: Mapping[str, str] | None = None) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT)
    try:
        eventually(lambda: _answers(process, health, log))
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def _answers(process: subprocess.Popen[bytes], health: str, log: Path) -> bool:
    assert process.poll() is None, log.read_text(encoding="utf-8", errors="replace")
    try:
        with urllib.request.urlopen(health, timeout=5):
            return True
    except OSError:
        return False
