"""The modules in a row, on generated rows and on the real ones."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.stack.conftest import Run

Query = Callable[[str, str], list[tuple[Any, ...]]]


def seven_years_later(unix_time: int) -> set[str]:
    """The days that a real row's unix_time may stand for: the data set's clock is seven years early."""
    moment = datetime.fromtimestamp(unix_time, UTC)
    if (moment.month, moment.day) == (2, 29):
        return {f"{moment.year + 7}-02-28", f"{moment.year + 7}-03-01"}
    return {moment.replace(year=moment.year + 7).date().isoformat()}


def test_the_jobs_twice_in_a_row(run: Run, landing: Path, database: str, s3: Any, query: Query) -> None:
    """Simulator, logger, confirmer and extractor pass twice, and the second time nothing is doubled."""
    variables = {"LANDING_DIR": landing, "LOGGER_SQL_URI": database, "TRANSACTIONS": 20_000, **s3.environment}
    for _ in range(2):
        for module in ("simulator", "logger_sql", "confirm", "extractor_sql"):
            done = run(module, **variables)
            assert done.returncode == 0, done.stderr
        [(rows, known)] = query(database, "SELECT count(*), count(fraud_confirmed) FROM fraud_detection_2_table")
        assert rows == 20_000 and known > 1_000
        assert done.stdout.startswith(f"{known:,} observations")
    assert "(nothing new since " in done.stdout


@pytest.mark.real_data
def test_every_real_row_is_dated_for_certain_or_rejected(
    run: Run, landing: Path, database: str, s3: Any, query: Query, real_transactions: Path
) -> None:
    """15,248 of 15,270 go in, each on the day of its unix_time; 22 have a date of birth with two readings."""
    variables = {"LANDING_DIR": landing, "LOGGER_SQL_URI": database, **s3.environment}
    done = run("simulator", **variables, TRANSACTIONS_CSV=real_transactions)
    assert done.stdout == f"15,270 transactions in 16 batches → {landing}\n"
    for expected in ("15,248 inserted, 0 already there, ", "0 inserted, 15,248 already there, "):
        done = run("logger_sql", **variables)
        assert done.stdout.startswith(f"{expected}22 rejected")

    stored = query(database, "SELECT trans_date_trans_time::date::text, unix_time FROM fraud_detection_2_table")
    assert all(day in seven_years_later(unix_time) for day, unix_time in stored)
    files = sorted((landing / "rejected").iterdir())
    rejected = [json.loads(line) for path in files for line in path.read_bytes().splitlines()]
    assert len(rejected) == 22
    assert all(entry["reason"].startswith("dob: ") for entry in rejected)
    assert all("does not tell which" in entry["reason"] for entry in rejected)
    done = run("extractor_sql", **variables, DEMO_MODE=1)
    assert done.stdout.startswith("3,812 observations")


@pytest.mark.real_data
def test_the_real_formats_are_what_we_think(real_transactions: Path) -> None:
    """6,968 rows have the year first, 607 are day-month-year with dashes, 7,695 with slashes; none month first."""
    spellings: Counter[str] = Counter()
    with real_transactions.open(newline="") as file:
        for row in csv.DictReader(file):
            day = row["trans_date_trans_time"].split(" ")[0]
            first, second = day.replace("/", "-").split("-")[:2]
            if len(first) == 4:
                spellings["year first"] += 1
            elif int(second) > 12:
                spellings["month first"] += 1
            else:
                spellings["/" if "/" in day else "-"] += 1
    assert spellings == {"year first": 6_968, "-": 607, "/": 7_695}
