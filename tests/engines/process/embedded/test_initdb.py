"""Scripts in /docker-entrypoint-initdb.d run as in the official image of PostgreSQL, in both ways."""

from __future__ import annotations

import gzip
import lzma
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from gigogne.core.model import Mount, MountType, Service
from gigogne.engines.process.addresses import Endpoint
from gigogne.engines.process.embedded import embedded_server
from gigogne.errors import EngineError

from .conftest import HERE, NETWORK, Driver, Running, become_nobody, places_of

PASSWORD = "pa55word-of-the-owner"
ENVIRONMENT = {
    "POSTGRES_USER": "owner",
    "POSTGRES_PASSWORD": PASSWORD,
    "POSTGRES_DB": "shop",
    "POSTGRES_INITDB_ARGS": "--no-sync --wal-segsize=1",
    "APP_PASSWORD": "of-the-app-alone",
}
INSIDE = "/docker-entrypoint-initdb.d"
APP = """\
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<-EOSQL
    CREATE USER app PASSWORD '$APP_PASSWORD';
    GRANT SELECT ON item TO app;
EOSQL
"""


@pytest.fixture
def scripts(home: Path) -> Path:
    """The directory of the scripts."""
    directory = home / "scripts"
    directory.mkdir()
    return directory


def database(*mounts: Mount, **environment: str) -> Service:
    """A service with such mounts."""
    return Service("db", image="postgres:16", environment=ENVIRONMENT | environment, mounts=mounts)


def bind(source: Path, target: str = INSIDE) -> Mount:
    """A read-only bind."""
    return Mount(MountType.BIND, str(source), target, read_only=True)


def executable(path: Path, text: str) -> None:
    """Write a script that runs by itself."""
    path.write_text(text)
    path.chmod(0o755)


def rows(started: Running, query: str, *, user: str = "owner", password: str = PASSWORD) -> list[str]:
    """The first column of what a query gives, as a client of the service sees it."""
    with psycopg.connect(
        host=started.address, port=started.at.port, user=user, password=password, dbname="shop"
    ) as connection:
        return [str(row[0]) for row in connection.execute(query.encode())]


def test_all_kinds_in_order(driver: Driver, scripts: Path) -> None:
    """SQL, packed SQL and shell scripts run in the order of their names, once, against POSTGRES_DB."""
    (scripts / "01-item.sql").write_text(
        "CREATE TABLE item (id serial, name text);\nINSERT INTO item(name) VALUES ('é');"
    )
    (scripts / "02-more.sql.gz").write_bytes(gzip.compress(b"INSERT INTO item(name) SELECT 'gz';"))
    (scripts / "03-more.sql.xz").write_bytes(lzma.compress(b"INSERT INTO item(name) SELECT 'xz';"))
    executable(scripts / "10-app.sh", "#!/bin/bash\nset -e\n" + APP)
    (scripts / "B-sourced.sh").write_text('"${psql[@]}" -c "INSERT INTO item(name) VALUES (\'sourced\')"\n')
    (scripts / "README.md").write_text("no script")
    (scripts / "subdirectory").mkdir()
    single = driver.home / "last.sql"
    single.write_text("INSERT INTO item(name) VALUES (current_user || ' of ' || current_database());")
    service = database(bind(scripts), bind(single, f"{INSIDE}/a-last.sql"))
    started = driver.start(service)
    expected = ["é", "gz", "xz", "sourced", "owner of shop"]
    assert rows(started, "SELECT name FROM item ORDER BY id") == expected
    assert rows(started, "SELECT name FROM item ORDER BY id", user="app", password="of-the-app-alone") == expected
    names = ["01-item.sql", "02-more.sql.gz", "03-more.sql.xz", "10-app.sh", "B-sourced.sh", "last.sql"]
    assert [Path(line.removeprefix("running ")).name for line in driver.said] == names
    assert started.stop() == 0
    driver.said.clear()
    again = driver.start(service)
    assert rows(again, "SELECT count(*) FROM item") == ["5"]
    assert driver.said == []


def test_large_dump(driver: Driver, scripts: Path) -> None:
    """A packed dump with COPY is read as a stream."""
    body = b"".join(b"%d\tsome text that repeats itself\n" % number for number in range(300_000))
    dump = b"CREATE TABLE big (id int, t text);\nCOPY big FROM stdin;\n" + body + b"\\.\n"
    (scripts / "dump.sql.gz").write_bytes(gzip.compress(dump, 1))
    assert rows(driver.start(database(bind(scripts))), "SELECT count(*) FROM big") == ["300000"]


def test_paths_of_the_container(driver: Driver, scripts: Path) -> None:
    """In the sandbox a script reads the service's mounts and secrets where the container has them."""
    if driver.bwrap is None:
        pytest.skip("without the sandbox there are no paths of the container")
    (scripts / "items.csv").write_text("1,one\n2,two\n")
    (scripts / "load.sql").write_text(
        f"CREATE TABLE item (id int, name text);\nCOPY item FROM '{INSIDE}/items.csv' CSV;\n"
    )
    secret = driver.home / "token.txt"
    secret.write_text("s3same")
    executable(
        scripts / "secret.sh",
        "#!/bin/bash\npsql -c \"INSERT INTO item VALUES (3, md5('$(cat /run/secrets/token)'))\" "
        "&& ls $(dirname $0)/load.sql",
    )
    service = database(bind(scripts), bind(secret, "/run/secrets/token"))
    assert len(rows(driver.start(service), "SELECT * FROM item")) == 3
    assert not Path(INSIDE).exists(), "a mount point was made on the disk of this machine"


def test_failing_sql(driver: Driver, scripts: Path) -> None:
    """A script that fails is named with its line and PostgreSQL's words; nothing is kept, and nothing runs on."""
    (scripts / "1.sql").write_text("CREATE TABLE item (id int);")
    bad = scripts / "2-bad.sql"
    bad.write_text("INSERT INTO item VALUES (1);\n\nINSERT INTO missing VALUES (1);\nSELECT 1;\n")
    with pytest.raises(EngineError) as error:
        driver.describe(database(bind(scripts)))
    assert f'{bad}:3: ERROR:  relation "missing" does not exist' in error.value.message
    assert "run again" in error.value.hint
    assert not list((driver.home / "volume").glob("*pgdata*/**"))
    assert left_running(driver.home) == []
    bad.write_text("INSERT INTO item VALUES (1);")
    assert rows(driver.start(database(bind(scripts))), "SELECT id FROM item") == ["1"]


@pytest.mark.parametrize("runs_by_itself", [True, False])
def test_failing_shell_script(driver: Driver, scripts: Path, runs_by_itself: bool) -> None:
    """A shell script's exit code and last words are told, but no value of a variable."""
    bad = scripts / "bad.sh"
    text = (
        "#!/bin/bash\nset -e\necho before\npsql -c \"CREATE USER app PASSWORD '$APP_PASSWORD' NONSENSE\"\necho after\n"
    )
    bad.write_text(text)
    if runs_by_itself:
        bad.chmod(0o755)
    with pytest.raises(EngineError) as error:
        driver.describe(database(bind(scripts)))
    assert f"{bad} failed (exit code 1)" in error.value.message
    assert "nonsense" in error.value.message and "after" not in error.value.message
    assert ENVIRONMENT["APP_PASSWORD"] not in error.value.message + "".join(driver.said)


def test_killed_while_a_script_runs(driver: Driver, scripts: Path) -> None:
    """Kill -9 of Gigogne in the middle of a script leaves no half database, and the next start ends what is left."""
    executable(
        scripts / "slow.sh", "#!/bin/sh\npsql -c 'CREATE TABLE t (x int)' && echo $PGHOST > started && sleep 20\n"
    )
    scripts.chmod(0o777)
    arguments = (database(bind(scripts)), Endpoint(HERE, 5432), driver.home / "volume", driver.home / "r",
                 driver.paths, driver.bwrap)  # fmt: skip
    code = (
        "import sys, pickle; s, a, d, r, p, b = pickle.load(sys.stdin.buffer)\n"
        "from gigogne.engines.process.embedded import embedded_server\n"
        "embedded_server(s.image).command(s, a, d, r, p, b, print)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, env=environment) as process:
        assert process.stdin
        pickle.dump(arguments, process.stdin)
        process.stdin.close()
        deadline = time.monotonic() + 20
        while not (scripts / "started").exists() or not (scripts / "started").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
    assert not (driver.home / "volume/pgdata").exists()
    (scripts / "slow.sh").write_text("psql -c 'CREATE TABLE t (x int)'\n")
    assert rows(driver.start(database(bind(scripts))), "SELECT count(*) FROM t") == ["0"]
    assert [path.name for path in (driver.home / "volume").iterdir() if path.suffix != ".lock"] == ["pgdata"]
    assert not Path((scripts / "started").read_text().strip()).exists()
    assert not [words for words in left_running(driver.home) if ".pgdata.new" in words]


def test_broken_archive(driver: Driver, scripts: Path) -> None:
    """A packed file that is cut short is an error, not half a database."""
    (scripts / "dump.sql.gz").write_bytes(gzip.compress(os.urandom(9999))[:-2000])
    with pytest.raises(EngineError, match=r"dump\.sql\.gz"):
        driver.describe(database(bind(scripts)))
    assert not (driver.home / "volume/pgdata").exists()


def test_nobody_else_reaches_it(driver: Driver, scripts: Path) -> None:
    """While scripts run the server listens on no port, and its socket is in a directory of its own user alone."""
    executable(
        scripts / "look.sh",
        "#!/bin/bash\nstat -c %a \"$PGHOST\"\npsql -Atc 'SHOW listen_addresses' -c 'SHOW port'\nexit 9\n",
    )
    with pytest.raises(EngineError, match=r"exit code 9\):\n700\n5432$"):
        driver.describe(database(bind(scripts)))


def test_no_secret_shows(driver: Driver, scripts: Path) -> None:
    """The password is in no file that an initialisation leaves."""
    executable(scripts / "a.sh", '#!/bin/sh\ntest "$POSTGRES_PASSWORD" && echo $PGHOST > where\n')
    scripts.chmod(0o777)
    started = driver.start(database(bind(scripts)))
    assert places_of(PASSWORD, started, driver.home) == []
    private = Path((scripts / "where").read_text().strip())
    assert private.is_absolute() and not private.exists()


def test_check(home: Path, scripts: Path) -> None:
    """What cannot be run is refused by its name, with what to do."""
    (scripts / "dump.sql.zst").write_bytes(b"x")
    volume = Mount(MountType.VOLUME, "scripts", INSIDE)
    server = embedded_server("postgres")
    assert server
    assert not [found for found in server.check(database(bind(home))) if found.fatal]
    (packed,) = [str(found) for found in server.check(database(bind(scripts))) if found.fatal]
    assert "dump.sql.zst" in packed and "zstd -d" in packed
    (named,) = [str(found) for found in server.check(database(volume)) if found.fatal]
    assert "volume" in named and "mount a directory" in named


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can become another user")
def test_as_an_ordinary_user(driver: Driver, home: Path) -> None:
    """An ordinary user's scripts run as that user, in both ways."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            become_nobody(home)
            mine = home / "mine"
            mine.mkdir()
            (mine / "a.sql").write_text("CREATE TABLE item AS SELECT 1 AS id;")
            executable(mine / "b.sh", "#!/bin/sh\npsql -c 'INSERT INTO item VALUES (2)'\n")
            other = Driver(driver.paths, home, driver.bwrap)
            started = other.start(database(bind(mine)), f"{NETWORK}.5")
            assert rows(started, "SELECT id FROM item") == ["1", "2"]
            code = started.stop()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def left_running(directory: Path) -> list[str]:
    """The programs that work on data below a directory."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(str(directory) in word for word in words):
            found.append(" ".join(words))
    return found
