"""What the champion's reader makes of a registry that is broken: one line, in a time that is bounded."""

from __future__ import annotations

import errno
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from catalog.champion import Registry, Version
from catalog.classifier import FILES, ModelError
from registry.errors import RegistryError

Answer = tuple[int, bytes]
VERSION = {"version": "3", "run_id": "r", "creation_timestamp": 1_700_000_000_000, "tags": [{"key": "a", "value": "b"}]}
PLACE = {"artifact_uri": "mlflow-artifacts:/1/models/m-1/artifacts"}


@contextmanager
def answering(answer: Callable[[str], Answer | None]) -> Iterator[str]:
    """The address of a server that answers to a path so; None is one byte a second."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answer(self.path)
            self.send_response(found[0] if found else 200)
            self.end_headers()
            if found:
                self.wfile.write(found[1])
                return
            with suppress(OSError):  # who waited has gone
                while True:
                    self.wfile.write(b" ")
                    time.sleep(0.1)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def told(code: str) -> bytes:
    """An error of MLflow's."""
    return json.dumps({"error_code": code, "message": "secret"}).encode()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((500, told("INTERNAL_ERROR")), "refuses with HTTP 500 (INTERNAL_ERROR)"),
        ((502, b"<html>"), "refuses with HTTP 502 (no reason)"),
        ((200, b"<html>"), "is no MLflow: correct MLFLOW_TRACKING_URI"),
        ((200, b"5"), "is no MLflow: correct MLFLOW_TRACKING_URI"),
        ((200, b"{}"), "not with a version of catalog-classifier"),
        ((200, b'{"model_version": {"version": "x"}}'), "not with a version of catalog-classifier"),
        ((200, b'{"model_version": {"version": "1", "creation_timestamp": 1%s}}' % (b"0" * 30)), "not with a version"),
        ((200, b'{"model_version": {"version": "1%s", "creation_timestamp": 1}}' % (b"0" * 30)), "not with a version"),
        ((200, b"[" * 100_000), "is no MLflow: correct MLFLOW_TRACKING_URI"),
        ((500, b"[" * 100_000), "refuses with HTTP 500 (no reason)"),
        ((401, b""), "wants another user or password"),
        ((403, b"Invalid Host header - possible DNS rebinding attack"), "its MLFLOW_SERVER_ALLOWED_HOSTS"),
    ],
)
def test_answers_that_are_none(answer: Answer, said: str) -> None:
    """What is no answer to the question is named, and quotes neither a password nor what the server wrote."""
    with (
        answering(lambda path: answer) as address,
        closing(Registry(address.replace("//", "//user:pass-7@"))) as registry,
        pytest.raises(RegistryError) as refused,
    ):
        registry.champion()
    assert said in str(refused.value) and "pass-7" not in str(refused.value) and "secret" not in str(refused.value)


def test_nobody_is_promoted() -> None:
    """No registered model, or no alias: there is no champion, which is no error."""
    for status, code in ((404, "RESOURCE_DOES_NOT_EXIST"), (400, "INVALID_PARAMETER_VALUE")):
        with answering(lambda path, s=status, c=code: (s, told(c))) as address, closing(Registry(address)) as registry:  # type: ignore[misc]
            assert registry.champion() is None


def test_nobody_answers() -> None:
    """A server that is not there is named with how to start it; the password in its address is not."""
    with closing(Registry("http://user:pass-7@127.0.0.1:9")) as registry, pytest.raises(RegistryError) as refused:
        registry.champion()
    assert str(refused.value) == (
        "MLflow at http://127.0.0.1:9 does not answer: start it (docker compose up -d mlflow-server)"
    )


@pytest.mark.parametrize(
    ("file", "place", "error", "said"),
    [
        ((200, b"{}"), PLACE, ModelError, "describes no classifier"),
        ((200, b"not JSON"), PLACE, ModelError, "describes no classifier"),
        ((404, told("RESOURCE_DOES_NOT_EXIST")), PLACE, RegistryError, "refuses with HTTP 404"),
        (None, PLACE, RegistryError, "takes too long to answer"),
        ((200, b""), {"artifact_uri": "s3://mlflow/1"}, RegistryError, "--serve-artifacts"),
    ],
)
def test_a_model_that_cannot_be_had(
    file: Answer | None, place: dict[str, str], error: type[Exception], said: str
) -> None:
    """Damaged files, missing ones, one that arrives by the byte, and a store that this server does not serve."""

    def answer(path: str) -> Answer | None:
        if "alias" in path:
            return 200, json.dumps({"model_version": VERSION}).encode()
        if "get-download-uri" in path:
            return 200, json.dumps(place).encode()
        assert path.startswith("/api/2.0/mlflow-artifacts/artifacts/1/models/m-1/artifacts/classifier/")
        assert path.rpartition("/")[2] in FILES
        return file

    with answering(answer) as address, closing(Registry(address, patience=1)) as registry:
        champion = registry.champion()
        assert champion is not None and (champion.number, champion.tags) == (3, {"a": "b"})
        with pytest.raises(error, match=said):
            registry.load(champion)


def test_other_files_of_a_package_can_be_had(tmp_path: Path) -> None:
    """By their paths in it, to the same paths in a folder; of one that is not in it nothing is written."""

    def answer(path: str) -> Answer:
        if "get-download-uri" in path:
            return 200, json.dumps(PLACE).encode()
        name = path.removeprefix("/api/2.0/mlflow-artifacts/artifacts/1/models/m-1/artifacts/")
        return (200, name.encode()) if name != "code/none.py" else (404, told("RESOURCE_DOES_NOT_EXIST"))

    version = Version(3, "r", datetime.now(UTC), {})
    with answering(answer) as address, closing(Registry(address)) as registry:
        registry.download(version, ["MLmodel", "classifier/reference.csv"], tmp_path)
        with pytest.raises(RegistryError, match="refuses with HTTP 404"):
            registry.download(version, ["code/none.py"], tmp_path)
    files = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {name: name for name in ("MLmodel", "classifier/reference.csv")}


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_a_full_disk_is_no_fault_of_the_registry() -> None:
    """What could not be written is told as what it is."""
    import resource

    def answer(path: str) -> Answer:
        return 200, json.dumps(PLACE).encode() if "get-download-uri" in path else b"a" * 10_000

    with answering(answer) as address, closing(Registry(address)) as registry:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
        try:
            with pytest.raises(OSError) as refused:
                registry.load(Version(3, "r", datetime.now(UTC), {}))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert refused.value.errno == errno.EFBIG
