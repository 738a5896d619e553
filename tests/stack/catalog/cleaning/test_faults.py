"""Cleaning when something is wrong: its settings, its products, a server, the disk, a signal in the middle."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from pymongo.database import Database
from tests.conftest import free_port
from tests.stack.catalog.conftest import Document
from tests.stack.conftest import environment

from .conftest import MODULE, Clean, Target, fill, key, noise

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.mark.parametrize(
    ("texts", "changed", "message"),
    [
        (None, {}, "there are no products in "),
        ([], {}, "there are no products in "),
        ([("a", "b")], {"complete": False}, "transform did not complete its products in "),
        ([("a", "b")], {"rows": 2}, "are not those of their manifest (1 came, 2 are in it): nothing was written"),
        ([("a", "b")], {"sha256": "0" * 64}, "are not those of their manifest"),
        ([("<b>", "<!--")], {}, "none of the 1 products has any text left"),
    ],
)
def test_products_that_cannot_be_cleaned(
    clean: Clean, catalog: Database[Document], target: Target, texts: list[tuple[str, str]] | None,
    changed: dict[str, object], message: str,
) -> None:  # fmt: skip
    """No products, incomplete ones, others than the manifest names, no text at all: one line, nothing is written."""
    if texts is not None:
        if texts:
            fill(catalog, texts, **changed)
        else:
            catalog["manifests"].insert_one({"_id": "products", "complete": True, "rows": 0, "sha256": ""})
    done = clean()
    assert_one_line(done, 1, message)
    assert "run transform" in done.stderr or "transform run" in done.stderr or "transform, then" in done.stderr or texts
    assert target.names() == []


def test_a_product_without_a_field(clean: Clean, catalog: Database[Document], target: Target) -> None:
    """Somebody else's document is named, with the field that it lacks."""
    fill(catalog, [("a", "b"), ("c", "d")])
    catalog["products"].update_one({"_id": key(1)}, {"$unset": {"imageid": 1}})
    assert_one_line(clean(), 1, f"product {key(1)} in ", "has no 'imageid'")
    assert target.names() == []


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"MONGODB_URI": ""}, 2, "MONGODB_URI is not set: write mongodb://"),
        ({"MONGODB_URI": "mongodb://u:se@cret@h/d"}, 2, "percent-encode"),
        ({"MONGODB_URI": "postgresql://u:secret@h/d"}, 2, "MONGODB_URI is not an address of MongoDB"),
        ({"MONGODB_URI": "mongodb://h/d?authMechanism=SCRAM-SHA-256"}, 2, "MONGODB_URI is not an address of MongoDB"),
        (
            {"MONGODB_URI": "mongodb://u:secret@h/d?tls=true&tlsCAFile=/nope.pem"},
            2,
            "MONGODB_URI names a file that cannot be read (No such file or directory): correct its tlsCAFile",
        ),
        ({"MONGODB_URI": "mongodb://u:secret@127.0.0.1:1/d"}, 1, "cannot reach MongoDB on 127.0.0.1:1/d: start it"),
        ({"CLEANING_WAIT": "soon"}, 2, "CLEANING_WAIT='soon' is not a whole number"),
        ({"CLEANING_WORKERS": "-1"}, 2, "CLEANING_WORKERS=-1 is too small"),
        ({"CLEANING_TARGET": "/tmp/x"}, 2, "names no folder on S3: write s3://bucket/folder"),
        ({"CLEANING_TARGET": "s3://not-there/x"}, 1, "the bucket not-there does not exist"),
        ({"AWS_SECRET_ACCESS_KEY": "secret"}, 1, "refused the S3 credentials"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, 1, "cannot reach S3 on http://127.0.0.1:1"),
        ({"AWS_ENDPOINT_URL": "127.0.0.1"}, 2, "AWS_ENDPOINT_URL is no address"),
    ],
)
def test_what_is_wrong_is_one_line(
    clean: Clean, catalog: Database[Document], target: Target, change: dict[str, object], code: int, message: str
) -> None:
    """A wrong setting or a server that is away: what it is and what to do, no secret, and nothing is written."""
    fill(catalog, [("a", "b")])
    done = clean(**change)
    assert_one_line(done, code, message)
    assert "secret" not in done.stderr
    assert target.names() == []


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("MONGODB_URI", "mongodb://127.0.0.1:1/d", "waiting up to 300 s for MongoDB on 127.0.0.1:1/d …\n"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1", "waiting up to 300 s for S3 on http://127.0.0.1:1 …\n"),
    ],
)
def test_it_says_soon_which_server_it_waits_for(
    start: Start, catalog: Database[Document], variables: dict[str, object], variable: str, value: str, told: str
) -> None:
    """A server that is away is waited for as long as CLEANING_WAIT says, and said long before."""
    fill(catalog, [("a", "b")])
    began = time.monotonic()
    process = start(MODULE, **{**variables, "CLEANING_WAIT": 300, variable: value})
    assert process.stderr is not None
    assert process.stderr.readline() == told
    assert time.monotonic() - began < 30
    assert process.poll() is None


def test_a_server_that_starts_late(start: Start, catalog: Database[Document], variables: dict[str, object]) -> None:
    """A MongoDB that is not there yet when cleaning begins is found when it is."""
    fill(catalog, [("a", "b")])
    address = str(variables["MONGODB_URI"])
    there = urlsplit(address).netloc.rpartition("@")[2]
    port = free_port()
    settings = {**variables, "CLEANING_WAIT": 60, "MONGODB_URI": address.replace(there, f"127.0.0.1:{port}")}
    process = start(MODULE, **settings)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("waiting up to 60 s for MongoDB on ")
    host, _, number = there.rpartition(":")
    with relay(host, int(number), most=10_000_000, on=port):
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.startswith("1 rows in | 1 out")


def test_the_user_is_refused(clean: Clean, mongodb_uri: str) -> None:
    """A wrong password is named as one, and not shown."""
    user, _, rest = mongodb_uri.partition("@")
    done = clean(MONGODB_URI=f"{user.rpartition(':')[0]}:nonsense@{rest}")
    assert_one_line(done, 1, "refused the user: correct user and password in MONGODB_URI")
    assert "nonsense" not in done.stderr


@pytest.mark.parametrize("server", ["mongodb", "s3"])
def test_a_server_that_is_lost_in_the_middle(
    clean: Clean, catalog: Database[Document], target: Target, variables: dict[str, object], server: str
) -> None:
    """Products stop coming, or the upload stops: nothing half-written or left behind; the next run completes."""
    fill(catalog, noise(2_000, characters=2_000))
    name = {"mongodb": "MONGODB_URI", "s3": "AWS_ENDPOINT_URL"}[server]
    address = str(variables[name])
    with relay(urlsplit(address).hostname or "", urlsplit(address).port or 0, most=1_000_000) as port:
        there = urlsplit(address).netloc.rpartition("@")[2]
        done = clean(**{name: address.replace(there, f"127.0.0.1:{port}")})
    assert_one_line(done, 1, "went away" if server == "mongodb" else "cannot reach S3")
    assert target.names() == []
    assert target.uploads() == 0
    assert clean().returncode == 0
    assert len(target.rows()) == 2_000


@pytest.mark.parametrize("kill", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_stopped_in_the_middle(
    start: Start, clean: Clean, catalog: Database[Document], target: Target, variables: dict[str, object],
    tmp_path: Path, kill: signal.Signals,
) -> None:  # fmt: skip
    """Its processes end with it within two seconds, nothing is written or left, and the next run completes."""
    fill(catalog, noise(3_000))
    process = start(MODULE, **variables, CLEANING_WORKERS=2)
    me, limit = psutil.Process(process.pid), time.monotonic() + 30
    while len(me.children(recursive=True)) < 2:
        assert time.monotonic() < limit
        assert process.poll() is None
        time.sleep(0.005)
    children = me.children(recursive=True)
    begin = time.monotonic()
    process.send_signal(kill)
    _, err = process.communicate(timeout=20)
    _, left = psutil.wait_procs(children, timeout=max(0.0, begin + 2 - time.monotonic()))
    assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -9}[kill], err
    assert [each for each in left if each.status() != psutil.STATUS_ZOMBIE] == []
    # Of kill -9 the program hears nothing, so that it cannot keep a child quiet that is just beginning.
    assert kill == signal.SIGKILL or "Traceback" not in err
    assert target.names() == []
    assert list(tmp_path.iterdir()) == []
    if kill == signal.SIGKILL:
        assert clean().returncode == 0
        assert len(target.rows()) == 3_000


@pytest.mark.skipif(sys.platform == "win32", reason="a limit of POSIX stands for a full disk")
def test_a_full_disk(catalog: Database[Document], target: Target, variables: dict[str, object]) -> None:
    """No room for the file: one line that says what to do, and no panic of a library."""
    fill(catalog, noise(2_000))
    limited = "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))"
    command = [sys.executable, "-c", f"{limited}; runpy.run_module({MODULE!r}, run_name='__main__')"]
    settings = environment(**variables)
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=60, check=False)
    assert_one_line(done, 1, "cannot write a temporary file: File too large: make room, or name a folder by TMPDIR")
    assert target.names() == []


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    """It failed with this code and one line that has these parts."""
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("waiting up to ")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for part in parts:
        assert part in lines[0]
    assert done.stdout == ""


@contextmanager
def relay(host: str, port: int, most: int, on: int = 0) -> Iterator[int]:
    """A port that leads to a server, until so many bytes went either way; from then on nobody gets through."""
    budget, lock = [most], threading.Lock()
    listener = socket.create_server(("127.0.0.1", on))

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with source, sink, suppress(OSError):
            while piece := source.recv(65_536):
                with lock:
                    budget[0] -= len(piece)
                if budget[0] < 0:
                    break
                sink.sendall(piece)
            for each in (source, sink):
                each.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                if budget[0] < 0:
                    client.close()
                    continue
                server = socket.create_connection((host, port))
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
