"""PostgreSQL without Docker behaves as the official image, in both ways."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from gigogne.core.model import Service
from gigogne.engines.process.addresses import Endpoint
from gigogne.engines.process.embedded import embedded_server
from gigogne.engines.process.paths import Paths
from gigogne.errors import EngineError

from .conftest import (
    HERE,
    NETWORK,
    THERE,
    Driver,
    Running,
    become_nobody,
    find_bwrap,
    odd_endpoint,
    places_of,
    still_running,
)

PASSWORD = "s3cr\\et 'of' the-test"
ENVIRONMENT = {"POSTGRES_USER": "ml ops", "POSTGRES_PASSWORD": PASSWORD, "POSTGRES_DB": "ml-ops"}
SMALL = {"POSTGRES_INITDB_ARGS": "--no-sync --wal-segsize=1"}  # quick to make and to remove


def postgres(command: tuple[str, ...] | None = None, **environment: str) -> Service:
    """A service of the image, with its usual variables."""
    return Service("db", image="postgres:15-alpine", command=command, environment=ENVIRONMENT | SMALL | environment)


def connect(
    started: Running, *, user: str = "ml ops", password: str = PASSWORD, dbname: str = "ml-ops"
) -> psycopg.Connection[tuple[object, ...]]:
    """Log in as a client of the service does."""
    return psycopg.connect(
        host=started.address,
        port=started.at.port,
        connect_timeout=5,
        autocommit=True,
        user=user,
        password=password,
        dbname=dbname,
    )


def one(started: Running, query: LiteralString) -> object:
    """The one value that a query gives."""
    with connect(started) as connection:
        row = connection.execute(query).fetchone()
    return row[0] if row else None


def test_first_start_and_restart(driver: Driver) -> None:
    """The user, the password and the database are those of the environment; rows survive a stop."""
    first = driver.start(postgres(TZ="Europe/Paris", POSTGRES_INITDB_ARGS=""))
    with connect(first) as connection:
        connection.execute("create table t (x int)")
        connection.execute("insert into t values (42)")
    assert one(first, "show timezone") == "Europe/Paris"
    assert one(first, "show listen_addresses") == HERE
    assert one(first, "show fsync") == "on"
    assert one(first, "show server_encoding") == "UTF8"
    assert first.stop() == 0, first.text()
    second = driver.start(postgres())
    assert one(second, "select x from t") == 42


def test_wrong_password_is_refused(driver: Driver) -> None:
    """Another password, user or database is refused, and an empty password too."""
    started = driver.start(postgres())
    for wrong in ({"password": "x"}, {"password": ""}, {"user": "postgres"}, {"dbname": "other"}):
        with pytest.raises(psycopg.OperationalError):
            connect(started, **wrong)


def test_volume_of_another_password(driver: Driver) -> None:
    """A volume keeps the password it was made with, and the error says so."""
    driver.start(postgres()).stop()
    changed = driver.launch(driver.describe(postgres(POSTGRES_PASSWORD="new one"), HERE), postgres(), HERE)
    driver.wait(changed)
    with pytest.raises(EngineError, match="initialised with another password"):
        driver.server(postgres()).ready(postgres(POSTGRES_PASSWORD="new one"), changed.at)
    with pytest.raises(EngineError, match="another POSTGRES_DB"):
        driver.server(postgres()).ready(postgres(POSTGRES_DB="new"), changed.at)


def test_killed_server_recovers(driver: Driver) -> None:
    """After kill -9 the next start recovers what was committed, with the stale pid file in its place."""
    first = driver.start(postgres())
    with connect(first) as connection:
        connection.execute("create table t as select generate_series(1, 1000) x")
    first.kill()
    wait_for_port(first.address)
    assert (driver.home / "volume/pgdata/postmaster.pid").exists()
    assert one(driver.start(postgres()), "select count(*) from t") == 1000


def test_reused_pid_does_not_block(driver: Driver) -> None:
    """A stale pid file whose process id belongs to another program by now does not stop the server."""
    driver.start(postgres()).stop()
    pid = driver.home / "volume/pgdata/postmaster.pid"
    pid.write_text(f"{os.getpid()}\n{pid.parent}\n0\n5432\n\n\n  5432001 0\nready\n")
    assert one(driver.start(postgres()), "select 1") == 1


def test_two_servers_never_share_data(driver: Driver) -> None:
    """A second server on the same data does not start, even where it cannot see the first one's process."""
    driver.start(postgres())
    second = driver.start(postgres(), THERE, wait=False)
    assert second.process.wait(20) != 0
    assert re.search("lock file|shared memory", second.text()), second.text()


def test_interrupted_initialisation(driver: Driver) -> None:
    """An initialisation that is killed leaves no half database, and the next start does it again."""
    volume = driver.home / "volume"
    code = (
        "import sys, pickle, pathlib; s, a, d, r, p, b = pickle.load(sys.stdin.buffer)\n"
        "from gigogne.engines.process.embedded import embedded_server\n"
        "embedded_server(s.image).command(s, a, d, r, p, b, print)"
    )
    import pickle

    arguments = (postgres(), Endpoint(HERE, 5432), volume, driver.home / "r", driver.paths, driver.bwrap)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert process.stdin
    pickle.dump(arguments, process.stdin)
    process.stdin.close()
    deadline = time.monotonic() + 10
    while not list(volume.glob(".pgdata.new-*/base")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (volume / "pgdata").exists()
    assert one(driver.start(postgres()), "select 1") == 1
    assert not list(volume.glob(".pgdata.new-*"))


def test_two_servers_on_one_port(driver: Driver) -> None:
    """Two servers have port 5432, each on its own loopback address, and listen nowhere else."""
    both = [driver.start(postgres(), f"{NETWORK}.{n}", f"volume{n}") for n in (2, 3)]
    for started in both:
        assert one(started, "select 1") == 1
        assert started.listening() == {(started.address, 5432)}


def test_another_port_of_the_common_address(driver: Driver) -> None:
    """Where 127.0.0.1 is the only loopback address, the server listens on another port of it, and there alone."""
    at = odd_endpoint()
    started = driver.start(postgres(), at)
    assert one(started, "show port") == str(at.port)
    assert started.listening() == {("127.0.0.1", at.port)}


def test_taken_port_is_named(driver: Driver) -> None:
    """What listens there already is found before anything starts, and named."""
    words = rf"port 5432 of {HERE} is taken by .*{os.getpid()}"
    with socket.create_server((HERE, 5432)), pytest.raises(EngineError, match=words) as info:
        driver.describe(postgres(), HERE)
    assert "stop it" in info.value.hint
    assert not (driver.home / "volume").exists()


def test_no_secret_shows(driver: Driver) -> None:
    """The password is on no command line and in no file, also while the data is initialised."""
    seen: set[str] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.001):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes().decode(errors="replace")
                except OSError:
                    continue
                if "the-test" in line:
                    seen.add(line)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        started = driver.start(postgres())
        with pytest.raises(psycopg.OperationalError):
            connect(started, password="other")
    finally:
        done.set()
        watcher.join()
    assert not seen
    assert places_of("the-test", started, driver.home) == []
    assert PASSWORD not in repr(started.command)


def test_stop_leaves_nothing(driver: Driver) -> None:
    """A stop with a client connected is quick, and leaves no process and no socket."""
    started = driver.start(postgres())
    tree = started.tree
    assert len(tree) > 3
    with connect(started):
        begun = time.monotonic()
        assert started.stop() == 0
        assert time.monotonic() - begun < 5
    assert still_running(tree) == []
    wait_for_port(started.address)
    assert [path for path in driver.home.rglob("*") if path.is_socket()] == []


def test_settings_of_the_command(driver: Driver) -> None:
    """`postgres -c name=value` and `-N` are honoured; what would move the server elsewhere is refused."""
    started = driver.start(postgres(("postgres", "-c", "work_mem=8MB", "-N", "17")))
    assert one(started, "show work_mem") == "8MB"
    assert one(started, "show max_connections") == "17"
    started.stop()
    for words in (("-c", "listen_addresses=*"), ("postgres", "-h", "0.0.0.0"), ("bash",), ("--hba_file=/x",)):
        assert fatal(postgres(words)), words


def test_trust_and_initdb_arguments(driver: Driver) -> None:
    """POSTGRES_HOST_AUTH_METHOD=trust needs no password; POSTGRES_INITDB_ARGS reach initdb."""
    environment = {"POSTGRES_HOST_AUTH_METHOD": "trust", "POSTGRES_INITDB_ARGS": "--locale=C --wal-segsize=8"}
    service = Service("db", image="registry.example/library/postgres", environment=environment)
    started = driver.start(service)
    with psycopg.connect(host=started.address, user="postgres", dbname="postgres") as connection:
        assert connection.execute("show wal_segment_size").fetchone() == ("8MB",)


def test_another_major_version(driver: Driver) -> None:
    """Data of another version, and data that a container wrote, are refused with what to do."""
    volume = driver.home / "volume"
    (volume / "pgdata").mkdir(parents=True)
    (volume / "pgdata/PG_VERSION").write_text("17\n")
    with pytest.raises(EngineError, match="holds data of PostgreSQL 17"):
        driver.describe(postgres(), HERE)
    other = driver.home / "other"
    other.mkdir()
    (other / "PG_VERSION").write_text("15\n")
    with pytest.raises(EngineError, match="a container of PostgreSQL 15 wrote"):
        driver.describe(postgres(), HERE, "other")


def fatal(service: Service) -> list[str]:
    """What it refuses."""
    server = embedded_server(service.image)
    assert server
    return [str(found) for found in server.check(service) if found.fatal]


def test_check() -> None:
    """What cannot be honoured is refused by its key, and the version is said."""
    server = embedded_server("registry.example:5000/library/postgres:15@sha256:0")
    assert server
    assert "services.db.image: runs PostgreSQL 18" in str(server.check(postgres())[0])
    assert not fatal(postgres())
    (missing,) = fatal(Service("db", image="postgres"))
    assert missing.startswith("services.db.environment.POSTGRES_PASSWORD")
    assert fatal(postgres(POSTGRES_HOST_AUTH_METHOD="peer"))
    assert fatal(postgres(POSTGRES_INITDB_ARGS="--waldir=/x"))
    assert fatal(postgres(PGDATA="/elsewhere"))
    assert not fatal(postgres(PGDATA="/var/lib/postgresql/data/pgdata"))
    assert embedded_server("bitnami/postgresql") is None
    assert embedded_server("me/postgres") is None


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root has to become another user")
class TestAsRoot:
    """What is special when the caller is root."""

    def test_change_of_way(self, driver: Driver) -> None:
        """Data of one way is read in the other: user namespaces may be denied one day."""
        driver.start(postgres()).stop()
        driver.bwrap = None if driver.bwrap else find_bwrap()
        assert one(driver.start(postgres()), "select 1") == 1

    def test_unreachable_directory(self, paths: Paths, home: Path) -> None:
        """A directory that `nobody` cannot enter is named, with what to type."""
        home.chmod(0o700)
        server = embedded_server("postgres")
        assert server
        with pytest.raises(EngineError, match=f"{home} cannot be entered") as info:
            server.command(postgres(), Endpoint(HERE, 5432), home / "v", home / "r", paths, None, print)
        assert f"chmod o+x {home}" in info.value.hint

    def test_as_an_ordinary_user(self, paths: Paths, home: Path) -> None:
        """An ordinary user needs neither bubblewrap nor another user, for initialisation and for the server."""
        child = os.fork()
        if child == 0:
            code = 1
            try:
                become_nobody(home)
                driver = Driver(paths, home, None)
                started = driver.start(postgres(), f"{NETWORK}.4")
                assert started.command.user is None
                assert one(started, "select 1") == 1
                code = started.stop()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def wait_for_port(address: str) -> None:
    """Wait until nothing holds the port: processes of a killed server end a moment later."""
    deadline = time.monotonic() + 10
    while True:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, 5432))
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            else:
                return
