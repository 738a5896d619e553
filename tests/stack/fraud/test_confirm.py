"""Confirmations, as files and as SQL, against a real PostgreSQL."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.stack.conftest import Run
from tests.stack.fraud.test_logger_sql import RECORDS, land, land_many

from fraud.confirmations import Confirmation, Contradiction, Fate, Outcome, TooEarly, record, record_each, share_truth
from fraud.logger_sql import ingest, prepare
from fraud.tables import create_tables

Query = Callable[[str, str], list[tuple[Any, ...]]]
Start = Callable[..., "subprocess.Popen[str]"]

WHEN = datetime(2025, 1, 9, 12)
HEADER = b"trans_num,is_fraud,confirmed_by,confirmed_at\n"
NUMBERS = [record["trans_num"] for record in RECORDS]
TRUTHS = "SELECT trans_num, fraud_confirmed FROM fraud_detection_2_table ORDER BY id"
KEPT = (
    "SELECT trans_num, is_fraud, confirmed_by, confirmed_at, source FROM fraud_detection_2_confirmations"
    " ORDER BY trans_num"
)


@pytest.fixture
def folder(landing: Path) -> Path:
    """An empty folder of confirmations."""
    made = landing / "confirmations"
    made.mkdir()
    return made


@pytest.fixture
def confirm(run: Run, folder: Path, database: str) -> Run:
    """Run the confirmer on the folder, with some variables changed."""

    def launch(**variables: object) -> subprocess.CompletedProcess[str]:
        return run("confirm", **{"CONFIRMATIONS_DIR": folder, "LOGGER_SQL_URI": database, **variables})

    return launch


@pytest.fixture
def logged(run: Run, landing: Path, database: str) -> None:
    """The first ten transactions are in the database."""
    land(landing, "a", *RECORDS[:10])
    assert run("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database).returncode == 0


def write(path: Path, *lines: str) -> Path:
    """A file of confirmations."""
    path.write_bytes(HEADER + "".join(f"{line}\n" for line in lines).encode())
    return path


def source(path: Path) -> str:
    """A file as the database and its rejects name it."""
    return f"{path.stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}{path.suffix}"


def rejects(path: Path) -> list[dict[str, Any]]:
    """What was rejected of a file of the folder."""
    return [json.loads(line) for line in (path.parent / "rejected" / f"{source(path)}.jsonl").read_bytes().splitlines()]


def said(number: str, is_fraud: bool, by: str = "holder", days: int = 0) -> Confirmation:
    """A confirmation."""
    return Confirmation(number, is_fraud, by, WHEN + timedelta(days=days))


@pytest.mark.usefixtures("logged")
def test_each_file_is_taken_once(confirm: Run, folder: Path, database: str, query: Query) -> None:
    """The truth goes to the transaction, who and when and from where are kept; a second run finds it done."""
    write(
        folder / "1.csv",
        f"{NUMBERS[0]},1,holder,2025-01-04 10:00:00",
        f"{NUMBERS[1]},0,unchallenged,2025-01-08 00:00:00",
    )
    write(folder / "2.csv", f"{NUMBERS[2]},False,bank,2025-01-09T00:00:00")
    (folder / ".3.csv.0.tmp").write_bytes(HEADER)
    (folder / "notes.txt").write_text("no confirmation")
    first, again = confirm(), confirm()
    assert (first.returncode, first.stderr) == (0, "")
    tail = "0 contradict, 0 wait for their transaction, 0 rejected (2 files)\n"
    assert first.stdout == f"3 confirmed (1 frauds), 0 repeated, {tail}"
    assert (again.returncode, again.stdout) == (0, f"0 confirmed (0 frauds), 3 repeated, {tail}")
    truths: dict[str, bool | None] = dict(query(database, TRUTHS))
    assert [truths[number] for number in NUMBERS[:4]] == [True, False, False, None]
    kept = {row[0]: row[1:] for row in query(database, KEPT)}
    assert kept[NUMBERS[0]] == (True, "holder", datetime(2025, 1, 4, 10), source(folder / "1.csv"))
    assert kept[NUMBERS[2]] == (False, "bank", datetime(2025, 1, 9), source(folder / "2.csv"))


@pytest.mark.usefixtures("logged")
def test_the_first_truth_stands(confirm: Run, folder: Path, database: str, query: Query) -> None:
    """Who says the same again is counted; who says the contrary is told who said what, and changes nothing."""
    write(folder / "1.csv", f"{NUMBERS[0]},1,holder,2025-01-04 10:00:00")
    confirm()
    write(
        folder / "2.csv",
        f"{NUMBERS[0]},1,bank,2025-01-05 10:00:00",
        f"{NUMBERS[1]},0,bank,2025-01-05 10:00:00",
        f"{NUMBERS[1]},1,holder,2025-01-06 10:00:00",
        "",
        f"{NUMBERS[0]},0,unchallenged,2025-01-09 10:00:00",
    )
    done = confirm()
    assert done.returncode == 0
    assert done.stdout.startswith(
        "1 confirmed (0 frauds), 2 repeated, 2 contradict, 0 wait for their transaction, 0 rej"
    )
    expected = [
        f"2.csv, line 4: {NUMBERS[1]}: holder says at 2025-01-06 10:00:00 that it is a fraud,"
        " but bank said at 2025-01-05 10:00:00 that it is genuine, which stands",
        f"2.csv, line 6: {NUMBERS[0]}: unchallenged says at 2025-01-09 10:00:00 that it is genuine,"
        " but holder said at 2025-01-04 10:00:00 that it is a fraud, which stands",
        f"2.csv: 0 lines rejected, 2 contradict, see {folder / 'rejected' / source(folder / '2.csv')}.jsonl",
    ]
    assert done.stderr.splitlines() == expected
    assert [entry["line"] for entry in rejects(folder / "2.csv")] == [4, 6]
    assert dict(query(database, TRUTHS))[NUMBERS[0]] is True
    assert [row[1:3] for row in query(database, KEPT) if row[0] == NUMBERS[0]] == [(True, "holder")]


def test_a_truth_may_come_before_its_transaction(
    run: Run, confirm: Run, landing: Path, folder: Path, database: str, query: Query
) -> None:
    """On an empty database it waits; the transaction takes it when it comes, also one that another contradicts."""
    write(folder / "1.csv", f"{NUMBERS[0]},1,holder,2025-01-04 10:00:00", f"{NUMBERS[1]},0,x,2025-01-04 10:00:00")
    done = confirm()
    assert done.stdout.startswith("0 confirmed (0 frauds), 0 repeated, 0 contradict, 2 wait for their transaction")
    write(folder / "2.csv", f"{NUMBERS[0]},0,bank,2025-01-05 10:00:00", f"{NUMBERS[1]},0,bank,2025-01-05 10:00:00")
    done = confirm()
    assert done.stdout.startswith("0 confirmed (0 frauds), 3 repeated, 1 contradicts, 0 wait for their transaction")
    land(landing, "a", *RECORDS[:3])
    assert run("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database).returncode == 0
    assert query(database, TRUTHS) == [(NUMBERS[0], True), (NUMBERS[1], False), (NUMBERS[2], None)]


@pytest.mark.usefixtures("logged")
def test_bad_lines_are_kept_with_their_reasons(confirm: Run, folder: Path) -> None:
    """Each with its line's number; the rest goes in."""
    write(
        folder / "1.csv",
        f"{NUMBERS[0]},maybe,holder,2025-01-04 10:00:00",
        f"{NUMBERS[0]},1,holder,04/01/2025",
        f"{NUMBERS[0]},1,holder,2025-01-04T10:00:00Z",
        f"{NUMBERS[0]},1,,2025-01-04 10:00:00",
        f"{NUMBERS[0]},1,holder",
        f'"{NUMBERS[0]}"x,1,holder,2025-01-04 10:00:00',
        f"{NUMBERS[0]},1,ho\0lder,2025-01-04 10:00:00",
        f"{NUMBERS[0]},1,holder,2025-01-04 10:00:00",
    )
    (folder / "1.csv").write_bytes((folder / "1.csv").read_bytes() + b"\xff,1,holder,2025-01-04 10:00:00\n")
    bom = "confirmed_at,confirmed_by,is_fraud,trans_num\r\n2025-01-04 10:00,bank,0," + NUMBERS[1] + "\r\n"
    (folder / "4.csv").write_text(bom, encoding="utf-8-sig", newline="")
    done = confirm()
    assert done.returncode == 0
    assert done.stdout.startswith(
        "2 confirmed (1 frauds), 0 repeated, 0 contradict, 0 wait for their transaction, 8 rej"
    )
    entries = rejects(folder / "1.csv")
    assert [entry["line"] for entry in entries] == [2, 3, 4, 5, 6, 7, 8, 10]
    reasons = [entry["reason"] for entry in entries]
    assert reasons[0] == "is_fraud: 'maybe' is neither true nor false"
    assert reasons[1].startswith("confirmed_at: '04/01/2025' is not a date and time: write 2025-01-31 12:00:00")
    assert "without a time zone" in reasons[2] and reasons[3] == "confirmed_by: empty"
    assert reasons[4] == "3 fields, not 4" and reasons[5].startswith("broken CSV: ")
    assert "NUL" in reasons[6] and reasons[7] == "trans_num: not Unicode text"


@pytest.mark.usefixtures("logged")
def test_a_stray_quote_spoils_its_line_alone(confirm: Run, folder: Path) -> None:
    """The lines after it are confirmations as ever."""
    lines = [f"{number},0,holder,2025-01-09 10:00:00" for number in NUMBERS[:10]]
    lines[3] = f'"{lines[3]}'
    write(folder / "1.csv", *lines)
    done = confirm()
    assert done.returncode == 0 and done.stdout.startswith("9 confirmed (0 frauds), ")
    (entry,) = rejects(folder / "1.csv")
    assert entry == {"line": 5, "reason": "broken CSV: unexpected end of data", "fields": [lines[3]]}


@pytest.mark.usefixtures("logged")
def test_a_file_without_the_header_is_not_taken(confirm: Run, folder: Path, database: str, query: Query) -> None:
    """What is wrong with it is told; the ledger does not have it, so that it is taken when it is mended."""
    right = write(folder / "6.csv", f"{NUMBERS[0]},1,holder,2025-01-04 10:00:00").read_bytes()
    content = {
        "1.csv": (b"number,truth\n1,1\n", "begins with 'number,truth', not with the line trans_num,is_fraud,"),
        "2.csv": (b"", "is empty"),
        "3.csv": (right.replace(b",", b";"), "has semicolons between its columns ('trans_num;is_fraud;confirmed_by;"),
        "4.csv": (right.decode().encode("utf-16"), "is not UTF-8 but most likely UTF-16: save it as UTF-8"),
        "5.csv": (right.partition(b"\n")[2], f"begins with '{NUMBERS[0]},1,holder,2025-"),
    }
    for name, (written, _) in content.items():
        (folder / name).write_bytes(written)
    done = confirm()
    assert done.returncode == 1 and done.stdout.startswith("1 confirmed (1 frauds), ")
    assert done.stdout.endswith(" 0 rejected (1 files)\n")
    for name, (_, message) in content.items():
        assert f"error: {folder / name} {message}" in done.stderr
    assert done.stderr.count("\n") == len(content) and not (folder / "rejected").exists()
    assert query(database, "SELECT file FROM fraud_detection_2_confirmation_files") == [("6.csv",)]
    alone = confirm(CONFIRMATIONS_CSV=folder / "3.csv")
    assert (alone.returncode, alone.stdout, alone.stderr.count("\n")) == (1, "", 1)


@pytest.mark.usefixtures("logged")
def test_a_time_before_the_transaction_is_refused(confirm: Run, folder: Path, database: str, query: Query) -> None:
    """It changes nothing, whatever it says; a year that no date has is refused before that."""
    made = RECORDS[0]["trans_date_trans_time"]
    write(
        folder / "1.csv",
        f"{NUMBERS[0]},1,holder,2024-12-31 10:00:00",
        f"{NUMBERS[1]},0,holder,2025-01-09 10:00:00",
        f"{NUMBERS[0]},0,bank,{made}",
        f"{NUMBERS[2]},1,holder,0001-01-01 00:00:00",
    )
    done = confirm()
    assert done.stdout.startswith(
        "2 confirmed (0 frauds), 0 repeated, 0 contradict, 0 wait for their transaction, 2 rej"
    )
    assert (
        f"1.csv, line 2: confirmed_at: 2024-12-31 10:00:00 is before the transaction, made at {made}\n" in done.stderr
    )
    reasons = {entry["line"]: entry["reason"] for entry in rejects(folder / "1.csv")}
    assert reasons[5] == "confirmed_at: the year 0001 is not one of 1900 to 2199" and reasons.keys() == {2, 5}
    assert [row[:3] for row in query(database, KEPT) if row[0] == NUMBERS[0]] == [(NUMBERS[0], False, "bank")]
    again = confirm()
    assert again.stdout.startswith(
        "0 confirmed (0 frauds), 2 repeated, 0 contradict, 0 wait for their transaction, 2 rej"
    )
    with psycopg.connect(database, autocommit=True) as connection:
        given = [said(NUMBERS[3], True, days=-30), said(NUMBERS[3], False)]
        early, fate = record_each(connection, given, source="a")
        assert isinstance(early, TooEarly) and (early.line, early.refused, fate) == (1, given[0], Fate.CONFIRMED)


@pytest.mark.usefixtures("logged")
def test_a_file_of_ones_own(confirm: Run, tmp_path: Path, folder: Path, database: str, query: Query) -> None:
    """CONFIRMATIONS_CSV is taken in place of the folder's; changed under its name, it is taken again."""
    write(folder / "1.csv", f"{NUMBERS[5]},1,holder,2025-01-04 10:00:00")
    own = write(tmp_path / "truth.csv", f"{NUMBERS[0]},1,me,2025-01-04 10:00:00")
    assert confirm(CONFIRMATIONS_CSV=own).stdout.startswith("1 confirmed (1 frauds), 0 repeated, ")
    write(own, f"{NUMBERS[0]},1,me,2025-01-04 10:00:00", f"{NUMBERS[1]},0,me,2025-01-04 10:00:00")
    assert confirm(CONFIRMATIONS_CSV=own).stdout.startswith("1 confirmed (0 frauds), 1 repeated, ")
    assert [row[2] for row in query(database, KEPT)] == ["me", "me"]
    before = source(write(own, f"{NUMBERS[2]},0,me"))
    confirm(CONFIRMATIONS_CSV=own)
    confirm(CONFIRMATIONS_CSV=write(own, f"{NUMBERS[3]},0,me"))
    left = {path.name for path in (folder / "rejected").iterdir()}
    assert left == {f"{before}.jsonl", f"{source(own)}.jsonl"} and len(left) == 2
    missing = confirm(CONFIRMATIONS_CSV=tmp_path / "none.csv")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr == f"error: cannot read {tmp_path / 'none.csv'}: No such file or directory\n"


@pytest.mark.usefixtures("logged")
def test_plain_sql_sets_a_truth_once_too(confirm: Run, folder: Path, database: str, query: Query) -> None:
    """Nobody changes it, nor who said it; a file that agrees repeats it, one that does not contradicts somebody."""
    write(folder / "1.csv", f"{NUMBERS[0]},1,holder,2025-01-04 10:00:00")
    confirm()
    query(database, f"UPDATE fraud_detection_2_table SET fraud_confirmed = false WHERE trans_num = '{NUMBERS[1]}'")
    query(database, f"UPDATE fraud_detection_2_table SET fraud_confirmed = true WHERE trans_num = '{NUMBERS[0]}'")
    for change in (
        "UPDATE fraud_detection_2_table SET fraud_confirmed = NOT fraud_confirmed WHERE fraud_confirmed",
        "UPDATE fraud_detection_2_table SET fraud_confirmed = NULL WHERE fraud_confirmed",
        "UPDATE fraud_detection_2_confirmations SET confirmed_by = 'me'",
        "DELETE FROM fraud_detection_2_confirmations",
    ):
        with pytest.raises(psycopg.errors.IntegrityError, match=f"transaction {NUMBERS[0]} is set, and is set once"):
            query(database, change)
    lines = (f"{NUMBERS[1]},{word},{by},2025-01-04 10:00:00" for word, by in ((1, "x"), (0, "bank"), (0, "y")))
    write(folder / "2.csv", *lines)
    done = confirm()
    assert done.stdout.startswith("0 confirmed (0 frauds), 3 repeated, 1 contradicts, ")
    assert "but somebody said by plain SQL that it is genuine, which stands" in done.stderr
    assert [row[1:3] for row in query(database, KEPT) if row[0] == NUMBERS[1]] == [(False, "bank")]
    write(folder / "3.csv", f"{NUMBERS[1]},0,z,2025-01-05 10:00:00", f"{NUMBERS[1]},1,z,2025-01-05 10:00:00")
    assert "but bank said at 2025-01-04 10:00:00 that it is genuine, which stands" in confirm().stderr


@pytest.mark.usefixtures("logged")
def test_what_became_of_each(database: str) -> None:
    """In the order given; all of them are recorded, or none."""
    with psycopg.connect(database, autocommit=True) as connection:
        assert record(connection, [said(NUMBERS[0], True)], source="a") == Outcome(recorded=1, frauds=1)
        given = [said(NUMBERS[0], True, "bank"), said(NUMBERS[1], False), said("unheard-of", True)]
        given += [said(NUMBERS[1], True, "bank", days=1), said("unheard-of", False, "bank")]
        fates = record_each(connection, given, source="b")
        assert fates[:3] == [Fate.REPEATED, Fate.CONFIRMED, Fate.WAITING]
        assert fates[3:] == [
            Contradiction(4, given[3], "holder", WHEN),
            Contradiction(5, given[4], "holder", WHEN),
        ]
        with pytest.raises(psycopg.errors.NotNullViolation):
            record(connection, [said(NUMBERS[3], True), Confirmation(NUMBERS[4], True, None, WHEN)], source="c")  # type: ignore[arg-type]
        assert record(connection, [said(NUMBERS[3], True)], source="d").recorded == 1


def test_no_truth_slips_between_logger_and_confirmer(
    start: Start, landing: Path, folder: Path, database: str, query: Query
) -> None:
    """Transactions and their confirmations that go in at the same time find each other, whichever is first."""
    batches, size = 60, 20
    land_many(landing, batches, size)
    for batch in range(batches):
        write(
            folder / f"{batch:03d}.csv", *(f"{batch}-{each},{each % 2},x,2025-01-04 10:00:00" for each in range(size))
        )
    with psycopg.connect(database, autocommit=True) as connection:
        create_tables(connection)
    racing = [
        start("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database),
        start("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database),
        start("confirm", CONFIRMATIONS_DIR=folder, LOGGER_SQL_URI=database),
        start("confirm", CONFIRMATIONS_DIR=folder, LOGGER_SQL_URI=database),
    ]
    ended = [(process.communicate(timeout=60), process.returncode) for process in racing]
    assert [code for _, code in ended] == [0] * 4, ended
    truths = (
        "SELECT count(*), count(fraud_confirmed), count(*) FILTER (WHERE fraud_confirmed) FROM fraud_detection_2_table"
    )
    assert query(database, truths) == [(batches * size, batches * size, batches * size // 2)]


def test_a_confirmation_waits_for_the_insert_that_does_not_know_it(database: str, landing: Path) -> None:
    """While rows are inserted and not yet committed, their confirmation waits; then it finds them."""
    with psycopg.connect(database, autocommit=True) as inserting, psycopg.connect(database) as confirming:
        prepare(inserting)
        outcomes: list[Outcome] = []
        with inserting.transaction():
            share_truth(inserting)
            ingest(inserting, land(landing, "a", RECORDS[0]))
            confirming.autocommit = True
            thread = threading.Thread(
                target=lambda: outcomes.append(record(confirming, [said(NUMBERS[0], True)], source="x"))
            )
            thread.start()
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            while inserting.execute(waiting).fetchone() != (1,):
                assert thread.is_alive()
        thread.join(timeout=20)
        assert outcomes == [Outcome(recorded=1, frauds=1)]


def test_killed_at_any_moment_each_truth_is_there_once(
    run: Run, start: Start, landing: Path, folder: Path, database: str, query: Query
) -> None:
    """Kill -9 at random moments, again and again: each confirmation is kept once, and each transaction has its own."""
    files, size = 200, 20
    land_many(landing, 8, files * size // 8)
    for number in range(files):
        batch, first = divmod(number * size, files * size // 8)
        lines = (f"{batch}-{first + each},{each % 2},x,2025-01-04 10:00:00" for each in range(size))
        write(folder / f"{number:03d}.csv", *lines, *["broken"] * (number % 10 == 0))
    assert run("logger_sql", LANDING_DIR=landing, LOGGER_SQL_URI=database).returncode == 0
    moments = random.Random(3)
    taken = "SELECT count(*) FROM fraud_detection_2_confirmation_files"
    for _ in range(4):
        process = start("confirm", CONFIRMATIONS_DIR=folder, LOGGER_SQL_URI=database)
        before = query(database, taken)
        while query(database, taken) == before:
            assert process.poll() is None, "the work was done before"
        time.sleep(0.02 * moments.random())
        process.kill()
        assert process.wait() != 0
    done = run("confirm", CONFIRMATIONS_DIR=folder, LOGGER_SQL_URI=database)
    assert done.returncode == 0 and f"{files // 10} rejected ({files} files)" in done.stdout
    sums = "SELECT sum(confirmed), sum(frauds), sum(repeated + waiting) FROM fraud_detection_2_confirmation_files"
    assert query(database, sums) == [(files * size, files * size // 2, 0)]
    unknown = "SELECT count(*) FROM fraud_detection_2_table WHERE fraud_confirmed IS NULL"
    assert query(database, unknown) == [(0,)]
    assert len(list((folder / "rejected").iterdir())) == files // 10


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"LOGGER_SQL_URI": ""}, 2, "LOGGER_SQL_URI is not set"),
        ({"CONFIRMATIONS_DIR": "/dev/null/x"}, 1, "cannot read the landing folder /dev/null/x"),
        ({"LOGGER_SQL_URI": "postgresql://u:secret@127.0.0.1:1/d"}, 1, "cannot reach PostgreSQL on 127.0.0.1:1"),
    ],
)
def test_what_is_wrong_is_one_line(confirm: Run, change: dict[str, str], code: int, message: str) -> None:
    """A mistake is one line on stderr, without the password."""
    done = confirm(**change)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert "secret" not in done.stderr


def test_no_folder_is_no_confirmation(confirm: Run, tmp_path: Path) -> None:
    """A pipeline whose rows are a CSV of one's own has no confirmations yet: nothing to do is no error."""
    done = confirm(CONFIRMATIONS_DIR=tmp_path / "none")
    assert done.returncode == 0 and done.stdout.endswith("0 rejected (0 files)\n")
