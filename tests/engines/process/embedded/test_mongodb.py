"""MongoDB's stand-in behaves as the official image with a real driver, in both ways."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pymongo import MongoClient
from pymongo.errors import ConnectionFailure, DuplicateKeyError, OperationFailure

from gigogne.core.model import Mount, MountType, Service
from gigogne.engines.process.addresses import Endpoint
from gigogne.engines.process.embedded import embedded_server
from gigogne.engines.process.processes import Process
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

PASSWORD = "s3cr\\et 'of' tést,="
ENVIRONMENT = {"MONGO_INITDB_ROOT_USERNAME": "root user", "MONGO_INITDB_ROOT_PASSWORD": PASSWORD}


def mongo(*command: str, **environment: str) -> Service:
    """A service of the image, with its usual variables."""
    return Service("db", image="mongo:7", command=command or None, environment=ENVIRONMENT | environment)


@contextlib.contextmanager
def connected(
    started: Running, user: str | None = "root user", password: str = PASSWORD, **options: Any
) -> Iterator[MongoClient[dict[str, Any]]]:
    """A client as jobs have one."""
    login: dict[str, Any] = {"username": user, "password": password} if user else {}
    client: MongoClient[dict[str, Any]] = MongoClient(
        started.address, started.at.port, serverSelectionTimeoutMS=5000, **login, **options
    )
    with client:
        yield client


def test_first_start_and_restart(driver: Driver) -> None:
    """The root user logs in by either mechanism; documents, indexes and users survive a stop."""
    first = driver.start(mongo(MONGO_INITDB_DATABASE="shop"))
    with connected(first) as client:
        items = client.shop.items
        items.create_index("sku", unique=True)
        items.insert_many([{"sku": number, "tags": ["a", "b"], "at": {"x": 1.5}} for number in range(100)])
        client.shop.command("createUser", "app", pwd="of the app", roles=["readWrite"])
    assert first.stop() == 0, first.text()
    second = driver.start(mongo())
    for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-1"):
        with connected(second, authMechanism=mechanism) as client:
            assert client.shop.items.count_documents({"tags": "b"}) == 100
            with pytest.raises(DuplicateKeyError):
                client.shop.items.insert_one({"sku": 7})
    with connected(second, "app", "of the app", authSource="shop") as client:
        totals = client.shop.items.aggregate([{"$group": {"_id": None, "total": {"$sum": "$sku"}}}])
        assert [each["total"] for each in totals] == [4950]


def test_wrong_password_is_refused(driver: Driver) -> None:
    """Another password or user, and nobody at all, are refused."""
    started = driver.start(mongo())
    for user, password in (("root user", "x"), ("admin", PASSWORD), (None, "")):
        with connected(started, user, password) as client, pytest.raises(OperationFailure) as error:
            client.shop.items.find_one()
        assert error.value.code in (13, 18)
    with connected(started, None) as client, pytest.raises(OperationFailure):
        client.admin.command("createUser", "stranger", pwd="x", roles=["root"])


def test_volume_of_another_password(driver: Driver) -> None:
    """A volume keeps the password it was made with, and the error says so."""
    started = driver.start(mongo())
    with pytest.raises(EngineError, match="initialised with another") as error:
        driver.server(mongo()).ready(mongo(MONGO_INITDB_ROOT_PASSWORD="new one"), started.at)
    assert "gigogne down -v" in error.value.hint
    assert "new one" not in error.value.message


def test_without_authentication(driver: Driver) -> None:
    """Without a user there is no login, as in the image, and a notice says so."""
    service = Service("db", image="mongo", command=("mongod", "--bind_ip_all"))
    assert any("without a password" in str(found) for found in driver.server(service).check(service))
    started = driver.start(service)
    with connected(started, None) as client:
        client.shop.items.insert_one({"x": 1})
        assert client.shop.items.count_documents({}) == 1
    assert started.listening() == {(HERE, 27017)}


def test_killed_server_keeps_what_was_acknowledged(driver: Driver) -> None:
    """After kill -9 in the middle of writing, every acknowledged document is there."""
    started = driver.start(mongo())
    acknowledged = 0
    with connected(started) as client, pytest.raises(ConnectionFailure):
        for number in range(100_000):
            client.shop.items.insert_one({"_id": number})
            acknowledged += 1
            if acknowledged == 300:
                client.shop.many.insert_many([{"n": n} for n in range(2000)])
                started.kill()
    with connected(driver.start(mongo())) as client:
        assert client.shop.items.count_documents({}) in (acknowledged, acknowledged + 1)
        assert client.shop.many.count_documents({}) == 2000


def test_two_servers_on_one_port(driver: Driver) -> None:
    """Two servers have port 27017, each on its own loopback address, and listen nowhere else."""
    both = [driver.start(mongo(), address, f"volume-{address}") for address in (HERE, THERE)]
    with connected(both[0]) as one, connected(both[1]) as other:
        one.shop.items.insert_one({"x": 1})
        assert other.shop.items.count_documents({}) == 0
    for started in both:
        assert started.listening() == {(started.address, 27017)}


def test_another_port_of_the_common_address(driver: Driver) -> None:
    """Where 127.0.0.1 is the only loopback address, the server listens on another port of it, and there alone."""
    started = driver.start(mongo(), odd_endpoint())
    with connected(started) as client:
        assert client.admin.command("ping")["ok"] == 1
        assert client.nodes == {("127.0.0.1", started.at.port)}
    assert started.listening() == {("127.0.0.1", started.at.port)}


def test_port_of_the_command(driver: Driver) -> None:
    """`--port`, `--dbpath` and a cache size are honoured."""
    service = mongo("--port", "27099", "--dbpath=/db", "--auth", "--wiredTigerCacheSizeGB", "0.1", "--quiet")
    assert driver.server(service).port(service) == 27099
    assert driver.server(service).data_target(service) == "/db"
    started = driver.start(service)
    assert started.at == Endpoint(HERE, 27099)
    assert "102M" in started.command.argv


def test_stop_leaves_nothing(driver: Driver) -> None:
    """A stop with a client connected takes few seconds, and leaves no process."""
    started = driver.start(mongo())
    with connected(started) as client:
        client.shop.items.insert_one({"x": 1})
        tree = started.tree
        begun = time.monotonic()
        assert started.stop() == 0, started.text()
        assert time.monotonic() - begun < 6
    assert still_running(tree) == []
    assert [path.name for path in (driver.home / "volume").iterdir() if path.suffix != ".lock"] == ["secantusdb"]


def test_no_secret_shows(driver: Driver) -> None:
    """The password is on no command line and in no file."""
    started = driver.start(mongo())
    with connected(started, password="other") as client, pytest.raises(OperationFailure):
        client.shop.items.find_one()
    assert places_of("s3cr", started, driver.home) == []
    assert PASSWORD not in repr(started.command)


def test_interrupted_initialisation(driver: Driver) -> None:
    """A first start that is killed leaves no half database; the next one does it again, and ends what was left."""
    volume = driver.home / "volume"
    code = (
        "import sys, pickle; s, a, d, r, p, b = pickle.load(sys.stdin.buffer)\n"
        "from gigogne.engines.process.embedded import embedded_server\n"
        "embedded_server(s.image).command(s, a, d, r, p, b, print)"
    )
    arguments = (mongo(), Endpoint(HERE, 27017), volume, driver.home / "r", driver.paths, driver.bwrap)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert process.stdin
    pickle.dump(arguments, process.stdin)
    process.stdin.close()
    deadline = time.monotonic() + 20
    while not list(volume.glob("secantusdb.new/WiredTiger.wt")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (volume / "secantusdb").exists()
    started = driver.start(mongo())
    with connected(started) as client:
        assert client.admin.command("ping")["ok"] == 1
    ours = {each.pid for each in started.tree}
    left = [each for each in psutil.process_iter(["cmdline"]) if each.pid not in ours]
    assert not [each for each in left if any(str(volume) in word for word in each.info["cmdline"] or [])]


def test_a_stranger_during_the_first_start(driver: Driver) -> None:
    """Who connects while there is no authentication yet is found out, and nothing is kept."""
    watched, done = driver.home / "volume/.secantusdb.init", threading.Event()

    def meet() -> None:
        port = 0
        while not done.is_set():
            with contextlib.suppress(psutil.Error, OSError, ValueError):
                if port:
                    socket.create_connection(("127.0.0.1", port)).close()
                elif process := Process.read(watched):
                    words = psutil.Process(process.pid).cmdline()
                    port = int(words[words.index("--port") + 1])

    stranger = threading.Thread(target=meet)
    stranger.start()
    try:
        with pytest.raises(EngineError, match="somebody else connected"):
            driver.describe(mongo())
    finally:
        done.set()
        stranger.join()
    assert not (driver.home / "volume/secantusdb").exists()


def test_data_of_a_container(driver: Driver) -> None:
    """Data that the real server wrote is left alone, with what to do."""
    (driver.home / "volume").mkdir()
    (driver.home / "volume/WiredTiger").write_text("WiredTiger")
    with pytest.raises(EngineError, match="a container of MongoDB wrote"):
        driver.describe(mongo())


def fatal(service: Service) -> list[str]:
    """What it refuses."""
    server = embedded_server(service.image)
    assert server
    return [str(found) for found in server.check(service) if found.fatal]


def test_check(tmp_path: Path) -> None:
    """What cannot be honoured is refused by its key; that it is a stand-in is in the title and in a notice."""
    server = embedded_server("registry.example/library/mongo:7.0@sha256:0")
    assert server
    assert "beta stand-in for registry.example/library/mongo:7.0" in server.title
    assert any("SecantusDB" in str(found) for found in server.check(mongo()))
    assert not fatal(mongo())
    assert not fatal(Service("db", image="mongo"))
    assert not fatal(mongo("mongod", "--bind_ip", "0.0.0.0", "--auth", "--storageEngine=wiredTiger"))
    assert ["--replSet is not" in each for each in fatal(mongo("mongod", "--replSet", "rs0", "--port", "1"))] == [True]
    for words in (("--config", "/x"), ("bash",), ("--port", "x"), ("-f", "/x"), ("--tlsMode=requireTLS",)):
        assert len(fatal(mongo(*words))) == 1, words
    assert "MONGO_INITDB_ROOT_PASSWORD" in fatal(mongo(MONGO_INITDB_ROOT_PASSWORD=""))[0]
    assert fatal(Service("db", image="mongo", command=("--auth",)))
    assert "has =" in fatal(mongo(MONGO_INITDB_ROOT_USERNAME="ad=min"))[0]
    (tmp_path / "seed.js").write_text("db.x.insertOne({})")
    (tmp_path / "data.json").write_text("{}")
    mount = Mount(MountType.BIND, str(tmp_path), "/docker-entrypoint-initdb.d")
    (refused,) = fatal(Service("db", image="mongo", mounts=(mount,)))
    assert "seed.js" in refused and "from a job" in refused
    assert embedded_server("bitnami/mongodb") is None


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root has to become another user")
class TestAsRoot:
    """What is special when the caller is root."""

    def test_change_of_way(self, driver: Driver) -> None:
        """Data of one way is read in the other: user namespaces may be denied one day."""
        first = driver.start(mongo())
        with connected(first) as client:
            client.shop.items.insert_one({"x": 1})
        first.stop()
        driver.bwrap = None if driver.bwrap else find_bwrap()
        with connected(driver.start(mongo())) as client:
            assert client.shop.items.count_documents({}) == 1

    def test_not_as_root(self, driver: Driver) -> None:
        """The server is not root: it is another user, or is shown as one."""
        started = driver.start(mongo())
        (server,) = [each for each in started.tree if "secantus" in each.cmdline() and each.name() != "bwrap"]
        if driver.bwrap is None:
            assert server.uids().real == 65534
        else:
            assert not Path(f"/proc/{server.pid}/ns/user").samefile("/proc/self/ns/user")

    def test_as_an_ordinary_user(self, driver: Driver, home: Path) -> None:
        """An ordinary user needs neither bubblewrap nor another user."""
        with connected(driver.start(mongo())):  # imports what nobody could not, in /root
            pass
        child = os.fork()
        if child == 0:
            code = 1
            try:
                become_nobody(home)
                mine = Driver(driver.paths, home, None)
                started = mine.start(mongo(), f"{NETWORK}.6", "mine")
                assert started.command.user is None
                code = started.stop()
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
