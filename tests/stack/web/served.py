"""Servers of ours as processes, before a registry whose faults can be asked for."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

import requests

# Nobody listens there.
NOWHERE = "127.0.0.1:9"
USER, PASSWORD = "admin", "changeme"


class Saved(Protocol):
    """A model that a folder can hold."""

    def save(self, folder: Path) -> None:
        """Write its files into a folder."""


class StandIn:
    """A registry: the calls of MLflow's REST API that servers make, and real models. Its faults are asked for.

    Attributes:
        delay: Seconds that it takes to answer.
        broken: Whether the files of models are not those that were saved.
        missing: Whether they are not there.
        asked: How often it was asked who is promoted.
        loaded: How often for a model.
    """

    def __init__(self) -> None:
        self.delay, self.broken, self.missing, self.asked, self.loaded = 0.0, False, False, 0, 0
        self._models: dict[int, dict[str, bytes]] = {}
        self._champion, self._port = 0, 0
        self.start()

    @property
    def url(self) -> str:
        """Where it is, whether it answers or not."""
        return f"http://127.0.0.1:{self._port}"

    def promote(self, model: Saved) -> int:
        """Make a new version the champion; its number."""
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder))
            number = len(self._models) + 1
            self._models[number] = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
        self._champion = number
        return number

    def demote(self) -> None:
        """Have no champion."""
        self._champion = 0

    def start(self) -> None:
        """Answer, at the same address as ever."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), self._handler())
        self._server.daemon_threads = True
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, path: str) -> bytes | None:
        if "registered-models/alias" in path:
            self.asked += 1
            stamp = int(datetime(2026, 11, 1, self._champion, tzinfo=UTC).timestamp() * 1000)
            version = {"version": str(self._champion), "run_id": f"run-{self._champion}", "creation_timestamp": stamp}
            return json.dumps({"model_version": version}).encode() if self._champion else None
        if "get-download-uri" in path:
            self.loaded += 1
            return json.dumps({"artifact_uri": f"mlflow-artifacts:/1/models/m-{self._champion}/artifacts"}).encode()
        if self.missing:
            return None
        number, name = path.partition("/m-")[2].split("/", 1)[0], path.rpartition("/")[2]
        body = self._models[int(number)][name]
        return body[:-1] if self.broken else body

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                time.sleep(registry.delay)
                body = registry._answer(self.path)
                self.send_response(404 if body is None else 200)
                self.end_headers()
                self.wfile.write(b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}' if body is None else body)

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler


class Client(requests.Session):
    """Asks one server."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.trust_env = False
        self._url = url

    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override]
        """The answer to a path of the server's."""
        return super().request(method, self._url + url, timeout=30, **options)


class Served:
    """A server as a process, and a client of it.

    Attributes:
        process: The process.
        url: Where it listens.
        client: Asks it.
        said: Its lines so far.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.said = process, list[str]()
        assert process.stderr is not None
        for line in process.stderr:
            self.said.append(line)
            if "listening on " in line:
                break
        else:
            raise AssertionError("".join(self.said))
        self.url = line.rpartition(" ")[2].strip()
        self.client = Client(self.url)
        self._reader = threading.Thread(target=lambda: self.said.extend(process.stderr or ()), daemon=True)
        self._reader.start()

    def serves(self, version: int) -> None:
        """Wait until it serves a version of the model.

        Raises:
            AssertionError: It does not, within 20 seconds.
        """
        self.wait(lambda: self.client.get("/health/ready").json().get("model_version") == version)

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait until something is so.

        Raises:
            AssertionError: It is not, within 20 seconds; with what the server said.
        """
        until = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < until and self.process.poll() is None, "".join(self.said)
            time.sleep(0.02)

    def metric(self, name: str) -> float:
        """The value of a metric, by its name and labels as Prometheus writes them; 0 where there is none."""
        answer = self.client.get("/metrics")
        assert answer.status_code == 200, answer.text
        lines = answer.text.splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name), 0.0)

    def token(self) -> str:
        """What signs requests of the user of the default file."""
        answer = self.client.post("/token", data={"username": USER, "password": PASSWORD})
        return str(answer.json()["access_token"])

    def end(self) -> int:
        """SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self._reader.join()
        return code

    def close(self) -> None:
        """Whatever it does, it is gone."""
        self.client.close()
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
