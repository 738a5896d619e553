"""The extractor, run as users run it, against a real PostgreSQL and a real S3."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest
from botocore.exceptions import ClientError
from tests.stack.conftest import Run
from tests.stack.fraud.conftest import new_database

from fraud.confirmations import Confirmation, Outcome, record
from fraud.extracts import HEADER, HISTORY_HEADER, validated
from fraud.targets import part_size
from fraud.transactions import COLUMNS

Query = Callable[[str, str], list[tuple[Any, ...]]]
Start = Callable[..., "subprocess.Popen[str]"]
Stored = Callable[..., bytes]
KEY = "data/validated.csv"
PREVIOUS = b"what an earlier run left"
CONFIRMED = "SELECT count(*), count(fraud_confirmed) FROM fraud_detection_2_table"


@pytest.fixture
def stored(s3: Any) -> Stored:
    """What an object holds now, `validated.csv` say; that one starts as what an earlier version left, alone."""
    client = s3.client()
    for found in client.list_objects_v2(Bucket=s3.bucket).get("Contents", []):
        client.delete_object(Bucket=s3.bucket, Key=found["Key"])
    client.put_object(Bucket=s3.bucket, Key=KEY, Body=PREVIOUS)

    def read(name: str = "validated.csv") -> bytes:
        body: bytes = client.get_object(Bucket=s3.bucket, Key=f"data/{name}")["Body"].read()
        return body

    return read


@pytest.fixture
def uploads(s3: Any) -> Callable[[], int]:
    """How many uploads of the object are open; none is, of an earlier test."""
    client = s3.client()
    for left in client.list_multipart_uploads(Bucket=s3.bucket).get("Uploads", []):
        client.abort_multipart_upload(Bucket=s3.bucket, Key=left["Key"], UploadId=left["UploadId"])

    def count() -> int:
        found = client.list_multipart_uploads(Bucket=s3.bucket).get("Uploads", [])
        return len(found)

    return count


@pytest.fixture
def extract(run: Run, filled: str, s3: Any) -> Run:
    """Run the extractor on the filled database and the S3 server, with some variables changed."""

    def launch(**variables: object) -> subprocess.CompletedProcess[str]:
        return run("extractor_sql", **{**s3.environment, "LOGGER_SQL_URI": filled, **variables})

    return launch


def multiply(database: str, rows: int) -> None:
    """Make the table large: copies of its rows, all confirmed."""
    columns = [name for name in COLUMNS if name != "trans_num"]
    names = ", ".join(f'"{name}"' for name in columns)
    statement = (
        f"INSERT INTO fraud_detection_2_table ({names}, trans_num, is_fraud, fraud_confirmed)"
        f" SELECT {names}, md5(trans_num || n), is_fraud, true FROM fraud_detection_2_table,"
        f" generate_series(1, {rows // 400}) AS n"
    )
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(statement.encode())


def test_confirmed_rows_become_a_csv(extract: Run, filled: str, query: Query, stored: Stored) -> None:
    """The id under an empty header, the columns, the truth as is_fraud; ordered by id; the rest stays out."""
    query(filled, "UPDATE fraud_detection_2_table SET fraud_confirmed = (id = 7) WHERE id IN (300, 7, 41)")
    query(filled, "UPDATE fraud_detection_2_table SET merchant = E'a \"b\", c\\nd' WHERE id = 41")
    done = extract()
    assert (done.returncode, done.stderr) == (0, "")
    body = stored()
    size = f"{len(body)} B" if len(body) < 1000 else f"{len(body) / 1000:.1f} kB"
    assert done.stdout == f"3 observations → s3://fraud-detection-2-bucket/data/validated.csv ({size})\n"
    rows = list(csv.reader(io.StringIO(body.decode())))
    assert rows[0] == ["", *COLUMNS, "is_fraud"]
    assert [(row[0], row[-1]) for row in rows[1:]] == [("7", "True"), ("41", "False"), ("300", "False")]
    assert rows[2][3] == 'a "b", c\nd'
    assert re.fullmatch(r"2025-01-01 \d\d:\d\d:\d\d", rows[1][1])


def test_no_confirmed_rows_are_a_header(extract: Run, stored: Stored) -> None:
    """Nothing confirmed is a valid answer: a CSV with a header and no row."""
    done = extract()
    assert done.returncode == 0
    assert done.stdout.startswith("0 observations → ")
    assert done.stderr.startswith("nothing is confirmed yet: give confirm a file (CONFIRMATIONS_CSV=…)")
    assert stored() == HEADER


def matches(state: dict[str, Any], read: Stored, folder: str = "") -> bool:
    """Whether the objects beside a state are those that it describes."""
    told = [(state[name]["object"], state[name]["bytes"], state[name]["sha256"]) for name in ("validated", "history")]
    bodies = {name: read(folder + name) for name, _, _ in told}
    return told == [(name, len(body), hashlib.sha256(body).hexdigest()) for name, body in bodies.items()]


def confirmed(database: str, source: str, *truths: tuple[str, bool, datetime]) -> Outcome:
    """Confirm transactions."""
    with psycopg.connect(database, autocommit=True) as connection:
        return record(connection, (Confirmation(number, truth, "x", at) for number, truth, at in truths), source=source)


def test_beside_it_are_all_transactions_and_the_state(extract: Run, filled: str, query: Query, stored: Stored) -> None:
    """The history has every transaction, card by card in the order of time; the state says what both hold."""
    order = "SELECT trans_num, cc_num, trans_date_trans_time FROM fraud_detection_2_table"
    rows = sorted(query(filled, order), key=lambda row: (row[1], row[2], row[0]))
    first, last = min(row[2] for row in rows), max(row[2] for row in rows)
    confirmed(filled, "a", (rows[0][0], True, datetime(2025, 1, 5)), (rows[9][0], False, datetime(2025, 1, 7)))
    done = extract()
    assert (done.returncode, done.stderr) == (0, "")
    state = json.loads(stored("validated.json"))
    assert matches(state, stored)
    assert (state["validated"]["rows"], state["history"]["rows"], state["rows_added"]) == (2, 400, 2)
    assert (state["newest_transaction"], state["newest_confirmation"]) == (last.isoformat(), "2025-01-07T00:00:00")
    assert state["until"] is None and first < last
    history = list(csv.DictReader(io.StringIO(stored("history.csv").decode())))
    assert ",".join(history[0]) + "\n" == HISTORY_HEADER.decode()
    assert [(row["trans_num"], int(row["cc_num"]), row["at"]) for row in history] == [
        (number, card, str(at)) for number, card, at in rows
    ]


def test_what_is_new_is_told_and_nothing_new_writes_nothing(
    extract: Run, filled: str, query: Query, s3: Any, stored: Stored
) -> None:
    """The state counts from one extract to the next; an object that is gone or another one's is written again."""
    numbers = [row[0] for row in query(filled, "SELECT trans_num FROM fraud_detection_2_table ORDER BY id")]
    confirmed(filled, "a", *((number, False, datetime(2025, 1, 9)) for number in numbers[:3]))
    extract()
    before = json.loads(stored("validated.json"))
    since = before["extracted_at"][:16].replace("T", " ")
    again = extract()
    assert again.stdout.startswith(f"3 observations (nothing new since {since}) → s3://")
    assert json.loads(stored("validated.json")) == before
    confirmed(filled, "b", *((number, False, datetime(2025, 1, 9)) for number in numbers[3:5]))
    assert extract().stdout.startswith(f"5 observations (+2 since {since}) → s3://")
    assert matches(json.loads(stored("validated.json")), stored)
    for name in ("history.csv", "validated.csv", "validated.json"):
        s3.client().put_object(Bucket=s3.bucket, Key=f"data/{name}", Body=PREVIOUS)
        assert extract().returncode == 0
        assert matches(json.loads(stored("validated.json")), stored)


def test_until_a_moment_only_what_was_known_then(extract: Run, filled: str, query: Query, stored: Stored) -> None:
    """In a folder of its own; a truth that came later is not known, and a transaction that came later is not there."""
    rows = query(filled, "SELECT trans_num, trans_date_trans_time FROM fraud_detection_2_table ORDER BY 2, 1")
    middle = rows[199][1]
    early = [number for number, at in rows if at <= middle]
    confirmed(filled, "a", (rows[0][0], True, middle), (rows[1][0], False, middle + timedelta(seconds=1)))
    query(filled, f"UPDATE fraud_detection_2_table SET fraud_confirmed = false WHERE trans_num = '{rows[2][0]}'")
    done = extract(EXTRACTOR_UNTIL=middle.isoformat())
    folder = f"until-{middle:%Y%m%dT%H%M%S}/"
    assert done.stdout.startswith(f"2 observations → s3://fraud-detection-2-bucket/data/{folder}validated.csv (")
    state = json.loads(stored(f"{folder}validated.json"))
    assert matches(state, stored, folder)
    assert state["until"] == state["newest_transaction"] == state["newest_confirmation"] == middle.isoformat()
    history = csv.DictReader(io.StringIO(stored(f"{folder}history.csv").decode()))
    assert {row["trans_num"] for row in history} == set(early)
    assert stored() == PREVIOUS
    zoned = middle.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=5))).isoformat()
    assert extract(EXTRACTOR_UNTIL=zoned).stdout.startswith("2 observations (nothing new since ")


def test_what_lies_in_the_future_is_left_out_and_told(extract: Run, filled: str, query: Query, stored: Stored) -> None:
    """A clock that runs a century ahead: neither object has the transaction, and the state is as new as the others."""
    order = "SELECT trans_num, trans_date_trans_time FROM fraud_detection_2_table ORDER BY 2 DESC LIMIT 2"
    (wrong, _), (right, newest) = query(filled, order)
    with psycopg.connect(filled, autocommit=True) as connection:
        ahead = "trans_date_trans_time = '2150-01-01', fraud_confirmed = false"
        connection.execute(f"UPDATE fraud_detection_2_table SET {ahead} WHERE trans_num = %s".encode(), (wrong,))
    confirmed(filled, "a", (right, False, newest))
    done = extract()
    said = "1 transactions lie in the future, and are left out: whose clock is wrong?\n"
    assert (done.returncode, done.stderr) == (0, said)
    state = json.loads(stored("validated.json"))
    assert (state["validated"]["rows"], state["history"]["rows"]) == (1, 399)
    assert state["newest_transaction"] == newest.isoformat()
    assert wrong.encode() not in stored("history.csv")


def test_whoever_reads_the_state_finds_what_it_says(
    start: Start, filled: str, query: Query, s3: Any, stored: Stored
) -> None:
    """While extractors replace the objects again and again, one that asks again at a wrong digest is never misled."""
    numbers = [row[0] for row in query(filled, "SELECT trans_num FROM fraud_detection_2_table ORDER BY id")]
    variables = {**s3.environment, "LOGGER_SQL_URI": filled}
    found: set[int] = set()
    for number in numbers[:4]:
        confirmed(filled, "a", (number, False, datetime(2025, 1, 9)))
        racing = [start("extractor_sql", **variables) for _ in range(2)]
        while any(process.poll() is None for process in racing):
            with suppress(ClientError):
                state = json.loads(stored("validated.json"))
                if matches(state, stored):
                    assert stored("validated.csv").count(b"\n") - 1 >= state["validated"]["rows"]
                    found.add(state["validated"]["rows"])
        assert [process.returncode for process in racing] == [0, 0]
        last = json.loads(stored("validated.json"))
        assert matches(last, stored) and last["history"]["rows"] == 400
    assert last["validated"]["rows"] == 4 and found


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2", "postgresql+psycopg"])
def test_every_usual_scheme_is_accepted(extract: Run, filled: str, scheme: str) -> None:
    """Hosting companies, SQLAlchemy and libpq write the same address in different ways."""
    assert extract(LOGGER_SQL_URI=filled.replace("postgresql", scheme, 1)).returncode == 0


@pytest.mark.usefixtures("stored")
def test_demo_mode_confirms_a_quarter_and_no_more(extract: Run, filled: str, query: Query) -> None:
    """The first run brings the share to 25 %, the second finds it there; most agree with the prediction."""
    first = extract(DEMO_MODE=1)
    assert first.stderr == "demonstration: 100 more rows confirmed\n"
    assert first.stdout.startswith("100 observations → ")
    assert query(filled, CONFIRMED) == [(400, 100)]
    kept = "SELECT count(*), min(confirmed_by), min(source) FROM fraud_detection_2_confirmations"
    assert query(filled, kept) == [(100, "demo", "demo")]
    again = extract(DEMO_MODE=1)
    assert again.stderr == "demonstration: 0 more rows confirmed\n"
    assert query(filled, CONFIRMED) == [(400, 100)]
    agreeing = "SELECT count(*) FROM fraud_detection_2_table WHERE is_fraud = fraud_confirmed"
    assert query(filled, agreeing)[0][0] >= 95


def test_demo_seed_chooses_the_same_rows(extract: Run, postgres_url: str, template: str, stored: Stored) -> None:
    """The same seed confirms the same transactions in the same way; another seed others."""
    bodies = []
    for seed in ("a", "a", "b"):
        with new_database(postgres_url, template.rpartition("/")[2]) as url:
            extract(DEMO_MODE=1, DEMO_SEED=seed, LOGGER_SQL_URI=url)
        bodies.append(stored())
    assert bodies[0] == bodies[1]
    assert bodies[0] != bodies[2]


def test_demo_with_debug_confirms_one_more_a_run(extract: Run, filled: str, query: Query) -> None:
    """Each run confirms exactly one row, beyond a quarter too, until none is left."""
    for expected in (1, 2, 3):
        assert extract(DEMO_MODE=1, DEBUG_MODE=1).stdout.startswith(f"{expected} observations")
    unknown = "FROM fraud_detection_2_table WHERE fraud_confirmed IS NULL"
    all_but_one = f"SELECT id {unknown} ORDER BY id OFFSET 1"
    query(filled, f"UPDATE fraud_detection_2_table SET fraud_confirmed = true WHERE id IN ({all_but_one})")
    for _ in range(2):
        assert extract(DEMO_MODE=1, DEBUG_MODE=1).stdout.startswith("400 observations")


def test_debug_alone_changes_nothing(extract: Run, filled: str, query: Query) -> None:
    """DEBUG_MODE without DEMO_MODE confirms no row."""
    assert extract(DEBUG_MODE=1).stdout.startswith("0 observations")
    assert query(filled, CONFIRMED) == [(400, 0)]


def test_two_demos_at_once_confirm_a_quarter(start: Start, filled: str, s3: Any, query: Query) -> None:
    """Extractors that start together do not confirm twice as many."""
    variables = {**s3.environment, "LOGGER_SQL_URI": filled, "DEMO_MODE": 1}
    racing = [start("extractor_sql", **variables) for _ in range(3)]
    said = [process.communicate(timeout=60) for process in racing]
    assert [process.returncode for process in racing] == [0, 0, 0], said
    assert query(filled, CONFIRMED) == [(400, 100)]


def test_many_parts_are_the_bytes_that_psql_writes(
    extract: Run, filled: str, stored: Stored, uploads: Callable[[], int]
) -> None:
    """An extract of several parts arrives complete and in order: byte for byte what COPY gives."""
    multiply(filled, 80_000)
    done = extract()
    assert done.stdout.startswith("80,000 observations → ")
    with psycopg.connect(filled) as connection, connection.cursor() as cursor:
        query = f"COPY ({validated(None).as_string(connection)}) TO STDOUT (FORMAT csv)"
        with cursor.copy(query.encode()) as copy:
            expected = b"".join(copy)
    body = stored()
    assert len(body) > 2 * part_size(1)
    assert body == HEADER + expected
    assert uploads() == 0


def test_ten_thousand_parts_hold_the_largest_object() -> None:
    """Parts grow so that S3's 10,000 suffice for 5 TiB, and none is larger than S3's 5 GiB."""
    assert part_size(1) == part_size(900) == 5 * 2**20
    assert sum(map(part_size, range(1, 10_001))) >= 5 * 2**40
    assert part_size(10_000) <= 5 * 2**30


@pytest.mark.parametrize(("kill", "said"), [(signal.SIGTERM, "stopped by SIGTERM"), (signal.SIGINT, "interrupted")])
def test_waiting_for_another_extractor_is_told(
    start: Start, filled: str, s3: Any, query: Query, kill: signal.Signals, said: str
) -> None:
    """So that nobody takes it for dead; stopped meanwhile, it says no more than that."""
    with psycopg.connect(filled, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(7120521003)")
        process = start("extractor_sql", **s3.environment, LOGGER_SQL_URI=filled)
        assert process.stderr is not None
        assert process.stderr.readline() == "waiting for another extractor of this database, which is at work\n"
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while query(filled, waiting) != [(1,)]:
            assert process.poll() is None
        process.send_signal(kill)
        assert process.communicate(timeout=20) == ("", f"{said}\n")
    assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130}[kill]


@pytest.mark.parametrize("kill", [signal.SIGTERM, signal.SIGINT, None])
def test_stopped_in_the_middle_it_leaves_the_previous_object(
    start: Start, filled: str, s3: Any, query: Query,
    stored: Stored, uploads: Callable[[], int], kill: signal.Signals | None,
) -> None:  # fmt: skip
    """SIGTERM, Ctrl-C or a lost database: the old object stays whole, no half upload and no confirmation."""
    multiply(filled, 120_000)
    process = start("extractor_sql", **s3.environment, LOGGER_SQL_URI=filled, DEMO_MODE=1, DEBUG_MODE=1)
    limit = time.monotonic() + 20
    while not uploads():
        assert time.monotonic() < limit
    if kill:
        process.send_signal(kill)
    else:
        query(
            filled,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fraud.extractor_sql'",
        )
    _, err = process.communicate(timeout=20)
    assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130, None: 1}[kill], err
    assert "Traceback" not in err
    assert stored() == PREVIOUS
    assert uploads() == 0
    assert query(filled, CONFIRMED) == [(120_400, 120_000)]


def test_a_file_is_replaced_whole(extract: Run, filled: str, tmp_path: Path) -> None:
    """A path or a file:// address works as well, and nothing else is left beside the file."""
    target = tmp_path / "out" / "my file.csv"
    assert extract(EXTRACTOR_TARGET=target).returncode == 0
    assert target.read_bytes() == HEADER
    done = extract(EXTRACTOR_TARGET=target.as_uri(), DEMO_MODE=1)
    assert re.fullmatch(rf"100 observations \(\+100 since [-\d: ]{{16}}\) → {target.as_uri()} \(.*\)\n", done.stdout)
    assert target.read_bytes().count(b"\n") == 101
    assert sorted(path.name for path in target.parent.iterdir()) == ["history.csv", "my file.csv", "my file.json"]
    assert json.loads((target.parent / "my file.json").read_bytes())["validated"]["object"] == "my file.csv"


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"LOGGER_SQL_URI": ""}, 2, "LOGGER_SQL_URI is not set: write LOGGER_SQL_URI=postgresql://"),
        ({"LOGGER_SQL_URI": "mysql://u:secret@h/d"}, 2, "does not begin with postgresql://"),
        ({"LOGGER_SQL_URI": "postgresql://u:se@cret@h/d"}, 2, "percent-encode"),
        ({"LOGGER_SQL_URI": "postgresql://u:1234/secret@h/d"}, 2, "percent-encode"),
        ({"LOGGER_SQL_URI": "postgresql://u:secret/more@h/d"}, 2, "percent-encode"),
        ({"LOGGER_SQL_URI": "postgresql://u:a secret@h/d"}, 2, "percent-encode"),
        (
            {"LOGGER_SQL_URI": "postgresql://u:secret@127.0.0.1:1/d"},
            1,
            "cannot reach PostgreSQL on 127.0.0.1:1",
        ),
        (
            {"LOGGER_SQL_URI": "postgresql://u:secret@no.invalid/d"},
            1,
            "cannot reach PostgreSQL on no.invalid",
        ),
        ({"EXTRACTOR_TARGET": "s3://bucket"}, 2, "names no object"),
        ({"EXTRACTOR_TARGET": "ftp://bucket/x"}, 2, "neither s3://bucket/key nor a path"),
        ({"EXTRACTOR_TARGET": "s3://bucket/history.csv"}, 2, "history.json go beside it, so give it another name"),
        ({"EXTRACTOR_UNTIL": "yesterday"}, 2, "EXTRACTOR_UNTIL='yesterday' is not a date and time: write 2025-01-31T"),
        (
            {"EXTRACTOR_UNTIL": "9999-12-31T23:59:59-05:00"},
            2,
            "is out of range: write one from 1900-01-01 to 2199-12-31",
        ),
        ({"EXTRACTOR_UNTIL": "0001-01-01T00:00:00"}, 2, "EXTRACTOR_UNTIL='0001-01-01T00:00:00' is out of range"),
        ({"EXTRACTOR_TARGET": "/dev/null/x.csv"}, 1, "cannot write /dev/null/x.csv"),
        ({"EXTRACTOR_TARGET": "s3://not-there/x.csv"}, 1, "the bucket not-there does not exist"),
        ({"AWS_SECRET_ACCESS_KEY": "secret"}, 1, "refused the S3 credentials"),
        ({"AWS_ACCESS_KEY_ID": "somebody"}, 1, "refused the S3 credentials"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, 1, "cannot reach S3 on http://127.0.0.1:1"),
        ({"DEMO_MODE": "perhaps"}, 2, "DEMO_MODE='perhaps' is neither yes nor no"),
    ],
)
def test_what_is_wrong_is_one_line_and_the_previous_object_stays(
    extract: Run, filled: str, query: Query, stored: Stored,
    uploads: Callable[[], int], change: dict[str, str], code: int, message: str,
) -> None:  # fmt: skip
    """Each mistake is one line that says what and what to do, without the password; nothing has changed."""
    done = extract(**{"DEMO_MODE": 1, **change})
    assert (done.returncode, done.stdout) == (code, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert len([line for line in done.stderr.splitlines() if not line.startswith("demonstration")]) == 1
    assert "secret" not in done.stderr.replace("AWS_SECRET", "")
    assert stored() == PREVIOUS
    assert uploads() == 0
    assert query(filled, CONFIRMED) == [(400, 0)]


def test_a_missing_table_says_what_to_run(run: Run, database: str, s3: Any, uploads: Callable[[], int]) -> None:
    """An empty database is told apart from an unreachable one."""
    for demo in ("0", "1"):
        done = run("extractor_sql", **s3.environment, LOGGER_SQL_URI=database, DEMO_MODE=demo)
        assert done.returncode == 1
        assert 'relation "fraud_detection_2_table" does not exist' in done.stderr
        assert done.stderr.endswith("run logger_sql first\n")
        assert done.stderr.count("\n") == 1
    assert uploads() == 0


def test_a_wrong_password_is_told_without_the_password(run: Run, database: str, s3: Any) -> None:
    """The line names the user and the server, never what was tried."""
    wrong = database.replace("p%40ss%2Fw%3Ard", "hunter2")
    done = run("extractor_sql", **s3.environment, LOGGER_SQL_URI=wrong)
    assert done.returncode == 1
    assert "refused the user postgres: wrong user name or password" in done.stderr
    assert "hunter2" not in done.stderr
    missing = run("extractor_sql", **s3.environment, LOGGER_SQL_URI=database + "x")
    assert "does not exist" in missing.stderr
    assert "p@ss" not in missing.stderr + done.stderr


def test_missing_s3_credentials_are_told(run: Run, filled: str, s3: Any, tmp_path: Path) -> None:
    """No credentials anywhere is a line that names the two variables."""
    variables = {k: v for k, v in s3.environment.items() if "KEY" not in k}
    quiet = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": tmp_path}
    done = run("extractor_sql", **variables, **quiet, LOGGER_SQL_URI=filled)
    assert done.returncode == 1
    assert "no S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in done.stderr
