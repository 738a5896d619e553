"""The logger, run as users run it, against a real PostgreSQL."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.stack.conftest import Run

from fraud.generator import Generator

Query = Callable[[str, str], list[tuple[Any, ...]]]
Start = Callable[..., "subprocess.Popen[str]"]

ROWS = "SELECT count(*), count(DISTINCT trans_num) FROM fraud_detection_2_table"
IDS = "SELECT trans_num FROM fraud_detection_2_table ORDER BY id"
RECORDS = [Generator(11).transaction(number) for number in range(100)]


def land(landing: Path, name: str, *lines: Any) -> Path:
    """A batch of records, or of raw lines."""
    path = landing / f"{name}.jsonl"
    path.write_bytes(b"".join((x if isinstance(x, bytes) else json.dumps(x).encode()) + b"\n" for x in lines))
    return path


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
    """An id, the 21 columns in their order and types, the prediction, and a truth that nobody knows yet."""
    land(landing, "a", RECORDS[0])
    run("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database)
    columns = query(
        database,
        "SELECT column_name, data_type FROM information_schema.columns"
        " WHERE table_name = 'fraud_detection_2_table' ORDER BY ordinal_position",
    )
    kinds: dict[str, str] = dict(columns)
    assert len(columns) == 24
    assert [name for name, _ in columns][:2] == ["id", "trans_date_trans_time"]
    assert [name for name, _ in columns][-2:] == ["is_fraud", "fraud_confirmed"]
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


def test_killed_at_any_moment_nothing_is_lost_or_doubled(
    run: Run, start: Start, landing: Path, database: str, query: Query
) -> None:
    """Kill -9 at random moments, again and again: at the end each row is there once, and each reject."""
    # Many small batches: the work outlasts eight lives on a fast machine too.
    run("simulator", LANDING_DIR=landing, TRANSACTIONS=20_000, BATCH_SIZE=50)
    for path in landing.glob("*.jsonl"):
        with path.open("ab") as file:
            file.write(b"{broken\n")
    moments = random.Random(5)
    killed = 0
    for _ in range(8):
        process = start("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database)
        time.sleep(0.2 + 0.25 * moments.random())
        process.kill()
        killed += process.wait() == -signal.SIGKILL
    assert killed >= 4, f"killed {killed} times only: the work was done before"
    done = run("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database)
    assert done.returncode == 0
    assert query(database, ROWS) == [(20_000, 20_000)]
    assert query(database, "SELECT count(*), sum(inserted) FROM fraud_detection_2_batches") == [(400, 20_000)]
    rejected = list((landing / "rejected").glob("*.jsonl"))
    assert [len(path.read_bytes().splitlines()) for path in rejected] == [1] * 400


def test_several_loggers_at_once_share_the_work(
    run: Run, start: Start, landing: Path, database: str, query: Query
) -> None:
    """Three that start together on an empty database make one table and take each batch once."""
    run("simulator", LANDING_DIR=landing, TRANSACTIONS=6_000, BATCH_SIZE=200)
    racing = [start("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database) for _ in range(3)]
    said = [process.communicate(timeout=60) for process in racing]
    assert [process.returncode for process in racing] == [0, 0, 0], said
    assert sum(int(out.split()[0].replace(",", "")) for out, _ in said) == 6_000
    assert query(database, ROWS) == [(6_000, 6_000)]


def test_following_takes_what_lands_until_sigterm(
    run: Run, start: Start, landing: Path, database: str, query: Query
) -> None:
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


def test_sigterm_lets_the_current_batch_end(run: Run, start: Start, landing: Path, database: str, query: Query) -> None:
    """A follower stopped in the middle of a batch keeps all of it."""
    run("simulator", LANDING_DIR=landing, TRANSACTIONS=20_000, BATCH_SIZE=20_000)
    process = start("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database, LOGGER_FOLLOW=1)
    copying = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY staging%' AND state = 'active'"
    eventually(lambda: query(database, copying) == [(1,)])
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out[:15]) == (0, "20,000 inserted"), err
    assert query(database, ROWS) == [(20_000, 20_000)]


def test_a_job_stopped_by_sigterm_leaves_the_batch_for_the_next(
    run: Run, start: Start, landing: Path, database: str, query: Query
) -> None:
    """Without following, SIGTERM ends at once with 143, and nothing of the batch is in."""
    run("simulator", LANDING_DIR=landing, TRANSACTIONS=20_000, BATCH_SIZE=20_000)
    process = start("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database)
    copying = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY staging%' AND state = 'active'"
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
