"""The logger, run as users run it, against a real PostgreSQL."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.stack.conftest import Run

from fraud import logger_sql
from fraud.generator import Generator
from fraud.logger_sql import Counts, ingest, prepare
from fraud.transactions import COLUMN_TYPES, FIELDS

Query = Callable[[str, str], list[tuple[Any, ...]]]
Start = Callable[..., "subprocess.Popen[str]"]

ROWS = "SELECT count(*), count(DISTINCT trans_num) FROM fraud_detection_2_table"
IDS = "SELECT trans_num FROM fraud_detection_2_table ORDER BY id"
RECORDS = list(map(Generator(11).transaction, range(100)))


def land(landing: Path, name: str, *lines: Any) -> Path:
    """A batch of records, or of raw lines."""
    path = landing / f"{name}.jsonl"
    path.write_bytes(b"".join((x if isinstance(x, bytes) else json.dumps(x).encode()) + b"\n" for x in lines))
    return path


def land_many(landing: Path, batches: int, size: int) -> None:
    """Batches of transactions that all differ."""
    before, after = json.dumps(RECORDS[0]).encode().split(RECORDS[0]["trans_num"].encode())
    for batch in range(batches):
        lines = [b"%b%d-%d%b\n" % (before, batch, number, after) for number in range(size)]
        (landing / f"{batch:06d}.jsonl").write_bytes(b"".join(lines))


def eventually(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until something is so."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it never came"
        time.sleep(0.05)


def test_batches_go_in_once(run: Run, landing: Path, database: str, query: Query) -> None:
    """The table is made, the rows go in in their order, and a second run adds nothing and says so."""
    land(landing, "b", *RECORDS[50:60])
    land(landing, "a", *RECORDS[:50])
    first = run("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database)
    again = run("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database)
    tail = "0 rejected → fraud_detection_2_table (2 batches)\n"
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == f"60 inserted, 0 already there, {tail}"
    assert (again.returncode, again.stdout) == (0, f"0 inserted, 60 already there, {tail}")
    assert [row[0] for row in query(database, IDS)] == [record["trans_num"] for record in RECORDS[:60]]


def test_the_table_is_what_the_design_says(run: Run, landing: Path, database: str, query: Query) -> None:
    """An id, the 21 columns in their order and types, the prediction, a truth that nobody knows yet, the score."""
    land(landing, "a", RECORDS[0])
    run("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database)
    columns = query(
        database,
        "SELECT column_name, data_type FROM information_schema.columns"
        " WHERE table_name = 'fraud_detection_2_table' ORDER BY ordinal_position",
    )
    kinds: dict[str, str] = dict(columns)
    assert len(columns) == 26
    assert [name for name, _ in columns][:2] == ["id", "trans_date_trans_time"]
    assert [name for name, _ in columns][-4:] == ["is_fraud", "fraud_confirmed", "score", "model_version"]
    assert (kinds["score"], kinds["model_version"]) == ("double precision", "integer")
    assert kinds["trans_date_trans_time"] == "timestamp without time zone"
    assert (kinds["cc_num"], kinds["zip"], kinds["amt"]) == ("bigint", "text", "numeric")
    [(amount, born, predicted, truth)] = query(
        database, "SELECT amt, dob, is_fraud, fraud_confirmed FROM fraud_detection_2_table"
    )
    assert float(amount) == RECORDS[0]["amt"]
    assert born.isoformat() == RECORDS[0]["dob"]
    assert (predicted, truth) == (RECORDS[0]["is_fraud"], None)


def test_a_transaction_that_comes_again_is_counted(run: Run, landing: Path, database: str, query: Query) -> None:
    """The same transaction in one batch, in another batch or in a changed batch is in the table once."""
    land(landing, "a", *RECORDS[:5], RECORDS[0], RECORDS[0])
    land(landing, "b", *RECORDS[3:8])
    done = run("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database)
    assert done.stdout.startswith("8 inserted, 4 already there, 0 rejected")
    land(landing, "b", *RECORDS[3:10])
    done = run("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database)
    assert done.stdout.startswith("2 inserted, 12 already there, 0 rejected")
    assert query(database, ROWS) == [(10, 10)]


def test_bad_lines_go_to_a_reject_file_and_the_rest_goes_in(
    run: Run, landing: Path, database: str, query: Query
) -> None:
    """Each bad line is kept with its number, its reason and its text, whatever its bytes."""
    bad = {**RECORDS[1], "amt": "lots"}
    land(landing, "a", RECORDS[0], b"{broken", bad, b"", b"\xff\x00", RECORDS[2], {**RECORDS[3], "x": 1})
    done = run("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database)
    rejected = landing / "rejected" / "a.jsonl"
    assert done.returncode == 0
    assert done.stderr == f"a.jsonl: 4 lines rejected, see {rejected}\n"
    assert done.stdout.startswith("2 inserted, 0 already there, 4 rejected")
    entries = [json.loads(line) for line in rejected.read_bytes().splitlines()]
    assert [entry["line"] for entry in entries] == [2, 3, 5, 7]
    assert "broken JSON" in entries[0]["reason"]
    assert entries[1]["reason"] == "amt: 'lots' is not a number"
    assert json.loads(entries[1]["raw"]) == bad
    assert entries[2]["raw"] == "\\xff\x00"
    assert entries[3]["reason"] == "unknown 'x'"
    assert query(database, ROWS) == [(2, 2)]


def test_half_written_and_foreign_files_are_not_read(run: Run, landing: Path, database: str, query: Query) -> None:
    """Only names that a whole batch has are read."""
    land(landing, "a", RECORDS[0])
    (landing / ".b.jsonl.123.tmp").write_bytes(json.dumps(RECORDS[1]).encode()[:50])
    (landing / ".hidden.jsonl").write_bytes(json.dumps(RECORDS[1]).encode())
    (landing / "notes.txt").write_text("not a batch")
    (landing / "folder.jsonl").mkdir()
    done = run("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database)
    assert (done.returncode, done.stderr) == (0, "")
    assert query(database, ROWS) == [(1, 1)]


def test_a_table_of_before_goes_on(run: Run, landing: Path, database: str, query: Query) -> None:
    """One without scores and confirmations gets them, keeps its rows, and the next start changes nothing."""
    columns = ", ".join(f'"{name}" {kind}' for name, kind in COLUMN_TYPES.items())
    query(
        database,
        f"CREATE TABLE fraud_detection_2_table (id bigserial PRIMARY KEY, {columns},"
        " is_fraud boolean NOT NULL, fraud_confirmed boolean)",
    )
    names, values = ", ".join(f'"{name}"' for name in FIELDS), ", ".join(f"%({name})s" for name in FIELDS)
    with psycopg.connect(database) as connection:
        connection.execute(f"INSERT INTO fraud_detection_2_table ({names}) VALUES ({values})".encode(), RECORDS[0])
    land(landing, "a", *RECORDS[:3])
    done = run("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database)
    assert (done.returncode, done.stderr, done.stdout[:29]) == (0, "", "2 inserted, 1 already there, "[:29])
    assert query(database, "SELECT count(*), count(score) FROM fraud_detection_2_table") == [(3, 0)]
    index = "SELECT indexdef FROM pg_indexes WHERE indexname = 'fraud_detection_2_card_index'"
    [(definition,)] = query(database, index)
    assert definition.endswith("(cc_num, trans_date_trans_time)")


def test_a_score_goes_with_its_row(run: Run, landing: Path, database: str, query: Query) -> None:
    """To the last digit, with the model's version; a line without one leaves both null."""
    scored = {**RECORDS[0], "score": 0.1 + 0.2, "model_version": 4}
    half = {**RECORDS[2], "score": 0.5}
    land(landing, "a", scored, {**RECORDS[1], "score": 5e-324, "model_version": 1}, half, RECORDS[3])
    done = run("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database)
    assert done.stdout.startswith("3 inserted, 0 already there, 1 rejected")
    found = query(database, "SELECT score, model_version FROM fraud_detection_2_table ORDER BY id")
    assert found == [(0.1 + 0.2, 4), (5e-324, 1), (None, None)]
    (entry,) = (landing / "rejected" / "a.jsonl").read_bytes().splitlines()
    assert json.loads(entry)["reason"] == "missing model_version: a line has score and model_version, or neither"


def test_a_batch_that_its_writer_removed_is_no_error(landing: Path, database: str, query: Query) -> None:
    """The scorer removes a batch that is in the ledger: a logger that still has its name goes on to the next."""
    with psycopg.connect(database, autocommit=True) as connection:
        prepare(connection)
        assert ingest(connection, landing / "gone.jsonl") == Counts()
        assert ingest(connection, land(landing, "a", *RECORDS[:2])).inserted == 2
    assert query(database, ROWS) == [(2, 2)]


def unreadable(landing: Path, name: str) -> None:
    """A batch that nobody can read, root neither: its first page is no memory of the process."""
    (landing / f"{name}.jsonl").symlink_to("/proc/self/mem")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that gives EIO")
def test_a_batch_that_cannot_be_read_stops_no_other(run: Run, landing: Path, database: str, query: Query) -> None:
    """The rest goes in; then it ends with an error that names it."""
    land(landing, "a", *RECORDS[:5])
    unreadable(landing, "b")
    unreadable(landing, "c")
    land(landing, "d", *RECORDS[5:10])
    done = run("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database)
    assert done.returncode == 1 and done.stdout.startswith("10 inserted, 0 already there, 0 rejected")
    errors = [f"error: cannot read {landing / name}.jsonl: Input/output error" for name in ("c", "b")]
    assert done.stderr.splitlines() == errors
    assert query(database, ROWS) == [(10, 10)]


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that gives EIO")
def test_a_follower_goes_on_beside_a_batch_that_cannot_be_read(
    landing: Path, database: str, query: Query, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so once, and tries again: when it can be read, it is taken."""
    monkeypatch.setattr(logger_sql, "LONGEST_PAUSE", 0.2)
    monkeypatch.setattr(logger_sql, "POLL_SECONDS", 0.05)
    unreadable(landing, "a")
    land(landing, "b", *RECORDS[:5])
    follower = logger_sql._Follower(landing)
    with psycopg.connect(database, autocommit=True) as connection:
        prepare(connection)
        thread = threading.Thread(target=follower.watch, args=(connection,))
        thread.start()
        try:
            eventually(lambda: query(database, ROWS) == [(5, 5)])
            time.sleep(0.5)
            (landing / "a.jsonl").unlink()
            land(landing, "a", *RECORDS[5:8])
            eventually(lambda: query(database, ROWS) == [(8, 8)])
        finally:
            follower.stop()
            thread.join()
    assert capsys.readouterr().err.count(f"cannot read {landing / 'a.jsonl'}: Input/output error; trying again") == 1


class Killer:
    """Kills one of two at a random moment while it works: the logger, or the PostgreSQL that it talks to."""

    def __init__(self, database: str, seed: int) -> None:
        self.database, self.draw = database, random.Random(seed)
        self.killed: Counter[str] = Counter()

    def strike(self, process: subprocess.Popen[str], *, server: bool) -> None:
        """Wait until batches go in, and a moment more; then kill -9."""
        taken, now = self.taken(), None
        while now is None or now == taken:
            assert process.poll() is None, "the work was done before"
            now = self.taken()
        time.sleep(0.02 * self.draw.random())
        if server:
            with psycopg.connect(self.database, autocommit=True) as connection, suppress(psycopg.OperationalError):
                connection.execute(
                    "DO $$ BEGIN EXECUTE"
                    " (SELECT format('COPY (SELECT 1) TO PROGRAM %L', 'cat >/dev/null; kill -9 ' || pid)"
                    " FROM pg_stat_activity WHERE application_name = 'fraud.logger_sql' LIMIT 1); END $$"
                )
            process.wait(timeout=30)
        else:
            process.kill()
        self.killed["server" if server else "logger"] += process.wait() != 0

    def taken(self) -> int | None:
        """How many batches are in; None where there is no table yet."""
        with self.connected() as connection:
            try:
                row = connection.execute("SELECT count(*) FROM fraud_detection_2_batches").fetchone()
            except psycopg.errors.UndefinedTable:
                return None
        return int(row[0]) if row else None

    def connected(self) -> psycopg.Connection:
        """A connection, also when the server is getting up again."""
        for _ in range(300):
            with suppress(psycopg.OperationalError):
                return psycopg.connect(self.database, autocommit=True)
            time.sleep(0.1)
        raise AssertionError("PostgreSQL did not come back")


@pytest.mark.parametrize(
    ("kills", "of_the_server"), [(6, 2), pytest.param(100, 20, marks=[pytest.mark.full, pytest.mark.timeout(1200)])]
)
def test_killed_at_any_moment_nothing_is_lost_or_doubled(
    start: Start, landing: Path, database: str, query: Query, kills: int, of_the_server: int
) -> None:
    """Kill -9 of logger and PostgreSQL at random moments, again and again: each row is there once, and each reject."""
    batches = 30 * kills
    land_many(landing, batches, 10)
    for path in sorted(landing.glob("*.jsonl"))[::10]:
        path.write_bytes(path.read_bytes() + b"{broken\n")
    killer = Killer(database, seed=kills)
    for number in range(kills):
        killer.connected().close()
        process = start("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database)
        killer.strike(process, server=number % (kills // of_the_server) == 1)
    assert killer.killed == {"logger": kills - of_the_server, "server": of_the_server}
    last = start("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database)
    said = last.communicate(timeout=600)
    assert last.returncode == 0, said
    assert query(database, ROWS) == [(10 * batches, 10 * batches)]
    ledger = "SELECT count(*), sum(inserted), sum(already_there), sum(rejected) FROM fraud_detection_2_batches"
    assert query(database, ledger) == [(batches, 10 * batches, 0, batches // 10)]
    rejected = list((landing / "rejected").glob("*.jsonl"))
    assert [len(path.read_bytes().splitlines()) for path in rejected] == [1] * (batches // 10)


def test_several_loggers_at_once_share_the_work(start: Start, landing: Path, database: str, query: Query) -> None:
    """Three that start together on an empty database make one table and take each batch once."""
    land_many(landing, 30, 200)
    racing = [start("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database) for _ in range(3)]
    said = [process.communicate(timeout=60) for process in racing]
    assert [process.returncode for process in racing] == [0, 0, 0], said
    assert sum(int(out.split()[0].replace(",", "")) for out, _ in said) == 6_000
    assert query(database, ROWS) == [(6_000, 6_000)]


def test_following_takes_what_lands_until_sigterm(start: Start, landing: Path, database: str, query: Query) -> None:
    """A follower takes up batches as they land, survives a lost connection, and ends with 0 on SIGTERM."""
    land(landing, "a", *RECORDS[:10])
    process = start("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database, LOGGER_FOLLOW=1)
    eventually(lambda: query(database, "SELECT to_regclass('fraud_detection_2_table')") != [(None,)])
    eventually(lambda: query(database, ROWS) == [(10, 10)])
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fraud.logger_sql'"
        )
    land(landing, "b", *RECORDS[10:25])
    eventually(lambda: query(database, ROWS) == [(25, 25)])
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out.split(" →")[0]) == (0, "25 inserted, 0 already there, 0 rejected"), err


def test_sigterm_lets_the_current_batch_end(start: Start, landing: Path, database: str, query: Query) -> None:
    """A follower stopped in the middle of a batch keeps all of it."""
    land_many(landing, 1, 80_000)
    process = start("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database, LOGGER_FOLLOW=1)
    copying = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY %' AND state = 'active'"
    eventually(lambda: query(database, copying) == [(1,)])
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out[:15]) == (0, "80,000 inserted"), err
    assert query(database, ROWS) == [(80_000, 80_000)]


def test_a_job_stopped_by_sigterm_leaves_the_batch_for_the_next(
    start: Start, landing: Path, database: str, query: Query
) -> None:
    """Without following, SIGTERM ends at once with 143, and nothing of the batch is in."""
    land_many(landing, 1, 80_000)
    process = start("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database)
    copying = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY %' AND state = 'active'"
    eventually(lambda: query(database, copying) == [(1,)])
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (143, "stopped by SIGTERM\n")
    assert query(database, ROWS) == [(0, 0)]


def test_an_existing_table_is_enough_for_a_user_who_may_only_insert(
    run: Run, landing: Path, database: str, postgres_url: str, query: Query
) -> None:
    """Where the tables are there, the right to create them is not needed."""
    land(landing, "a", RECORDS[0])
    run("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database)
    query(database, "DROP ROLE IF EXISTS clerk")
    query(database, "CREATE ROLE clerk LOGIN PASSWORD 'clerk'")
    try:
        query(database, "GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO clerk")
        query(database, "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO clerk")
        land(landing, "b", RECORDS[1])
        clerk = database.replace("postgres:p%40ss%2Fw%3Ard@", "clerk:clerk@")
        done = run("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=clerk)
        assert (done.returncode, done.stderr) == (0, "")
        assert query(database, ROWS) == [(2, 2)]
    finally:
        query(database, "DROP OWNED BY clerk; DROP ROLE clerk")


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"LOGGER_SQL_URI": ""}, 2, "LOGGER_SQL_URI is not set"),
        ({"LOGGER_FOLLOW": "perhaps"}, 2, "LOGGER_FOLLOW='perhaps' is neither yes nor no"),
        ({"LANDING_DIR": "/nowhere"}, 1, "the landing folder /nowhere does not exist"),
    ],
)
def test_what_is_missing_is_one_line(
    run: Run, landing: Path, database: str, change: dict[str, str], code: int, message: str
) -> None:
    """A missing setting ends with 2, a missing folder with 1, each with one line on stderr."""
    done = run("logger_sql", **{"LANDING_DIR": landing, "LOGGER_SQL_URI": database, **change})
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
