"""The simulator, run as users run it."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.stack.conftest import Run

from fraud.generator import FRAUD_RATE, Generator
from fraud.transactions import COLUMNS, FIELDS


def batches(landing: Path) -> dict[str, bytes]:
    """The batches by name."""
    return {path.name: path.read_bytes() for path in sorted(landing.glob("*.jsonl"))}


def records(landing: Path) -> list[dict[str, Any]]:
    """The lines of all batches."""
    return [json.loads(line) for content in batches(landing).values() for line in content.splitlines()]


def test_the_default_is_ten_thousand_transactions(run: Run, landing: Path) -> None:
    """Without settings there are 10,000 transactions with unique numbers, some predicted as frauds."""
    done = run("simulator", LANDING_DIR=landing)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"10,000 transactions in 10 batches → {landing}\n"
    rows = records(landing)
    assert all(tuple(sorted(row)) == tuple(sorted(FIELDS)) for row in rows)
    assert len({row["trans_num"] for row in rows}) == 10_000
    assert 20 <= sum(row["is_fraud"] for row in rows) <= 70
    assert sorted(row["trans_date_trans_time"] for row in rows) == [row["trans_date_trans_time"] for row in rows]


def test_a_seed_always_gives_the_same_batches(run: Run, tmp_path: Path) -> None:
    """Another process writes the same bytes under the same names; another seed does not."""
    first, second, third = (tmp_path / name for name in ("a", "b", "c"))
    run("simulator", LANDING_DIR=first, TRANSACTIONS=50, SEED=7, BATCH_SIZE=20, PYTHONHASHSEED=1)
    run("simulator", LANDING_DIR=second, TRANSACTIONS=50, SEED=7, BATCH_SIZE=20, PYTHONHASHSEED=2)
    run("simulator", LANDING_DIR=third, TRANSACTIONS=50, SEED=8, BATCH_SIZE=20)
    assert batches(first) == batches(second)
    assert len(batches(first)) == 3
    assert not {r["trans_num"] for r in records(first)} & {r["trans_num"] for r in records(third)}


def test_a_range_is_a_part_of_the_whole(run: Run, landing: Path) -> None:
    """START continues a seed: the rows of a range do not depend on where a run began."""
    run("simulator", LANDING_DIR=landing, TRANSACTIONS=5, START=30)
    generator = Generator(42)
    assert records(landing) == [json.loads(json.dumps(generator.transaction(n))) for n in range(30, 35)]


def test_a_second_run_leaves_the_batches_untouched(run: Run, landing: Path) -> None:
    """A batch that is there with its content is not written again; a damaged one is replaced."""
    run("simulator", LANDING_DIR=landing, TRANSACTIONS=40, BATCH_SIZE=20)
    first, second = sorted(landing.iterdir())
    content = second.read_bytes()
    for path in (first, second):
        os.utime(path, (1, 1))
    second.write_bytes(b"damaged\n")
    run("simulator", LANDING_DIR=landing, TRANSACTIONS=40, BATCH_SIZE=20)
    assert first.stat().st_mtime == 1
    assert second.read_bytes() == content
    assert sorted(landing.iterdir()) == [first, second]


def test_what_a_killed_run_left_is_swept(run: Run, landing: Path) -> None:
    """An old temporary file goes; a young one may be somebody's work and stays."""
    old, young = landing / ".a.jsonl.1.tmp", landing / ".b.jsonl.2.tmp"
    old.touch()
    young.touch()
    os.utime(old, (1, 1))
    run("simulator", LANDING_DIR=landing, TRANSACTIONS=0)
    assert (old.exists(), young.exists()) == (False, True)


def test_the_distributions_do_not_wander() -> None:
    """The first and the hundredth month have the same fraud rate, amounts and busy hours."""
    generator = Generator(3)
    shares = []
    for start in (0, 100 * 75_000):
        rows = [generator.transaction(start + 7 * number) for number in range(10_000)]
        hours = Counter(datetime.fromisoformat(row["trans_date_trans_time"]).hour for row in rows)
        genuine = sorted(row["amt"] for row in rows if not row["is_fraud"])
        shares.append(
            (
                sum(row["is_fraud"] for row in rows) / len(rows),
                genuine[len(genuine) // 2],
                sum(hours[hour] for hour in range(12, 18)) / len(rows),
            )
        )
        assert sum(row["category"] == "gas_transport" for row in rows) / len(rows) == pytest.approx(0.1, abs=0.02)
    assert shares[0][0] == pytest.approx(FRAUD_RATE, abs=0.002)
    assert shares[1][0] == pytest.approx(FRAUD_RATE, abs=0.002)
    assert shares[0][1] == pytest.approx(shares[1][1], rel=0.08)
    assert shares[0][2] == pytest.approx(shares[1][2], abs=0.02)


def test_no_card_number_can_be_a_real_one() -> None:
    """Every number fails the check that every issuer's numbers pass."""
    generator = Generator(5)
    for number in range(50):
        digits = [int(digit) for digit in str(generator.transaction(number)["cc_num"])]
        doubled = [sum(divmod(2 * d, 10)) if place % 2 == 0 else d for place, d in enumerate(digits)]
        assert len(digits) == 16
        assert sum(doubled) % 10 != 0


def test_a_csv_passes_through_as_text(run: Run, landing: Path, tmp_path: Path) -> None:
    """Values keep their spelling, other columns are left out, rows of a wrong length stay wrong."""
    source = tmp_path / "rows.csv"
    row = dict.fromkeys(COLUMNS, "x") | {"cc_num": "4.9e+18", "dob": "6/12/1962", "is_fraud": "1"}
    with source.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*row, "source"])
        writer.writerow([*row.values(), "a"])
        writer.writerow(list(row.values())[:3])
        writer.writerow([*row.values(), "a", "more"])
    done = run("simulator", LANDING_DIR=landing, TRANSACTIONS_CSV=source, TRANSACTIONS=1)
    assert done.returncode == 0
    assert done.stderr == "columns left out: source\n"
    assert done.stdout == f"3 transactions in 1 batches → {landing}\n"
    whole, short, long = records(landing)
    assert whole == row
    assert len(short) == 3
    assert long.keys() - set(FIELDS) == {"(more values than columns)"}


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        ({"TRANSACTIONS": "many"}, 2, "TRANSACTIONS='many' is not a whole number"),
        ({"BATCH_SIZE": "0"}, 2, "BATCH_SIZE=0 is too small"),
        ({"SEED": "-1"}, 2, "SEED=-1 is too small"),
        ({"TRANSACTIONS_CSV": "/nowhere.csv"}, 1, "cannot read TRANSACTIONS_CSV /nowhere.csv"),
        ({"TRANSACTIONS_CSV": __file__}, 1, "lacks the columns trans_date_trans_time, "),
        ({"LANDING_DIR": "/dev/null/landing"}, 1, "cannot write /dev/null/landing"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    run: Run, landing: Path, settings: dict[str, str], code: int, message: str
) -> None:
    """Wrong settings end with 2, the world's faults with 1, each with one line on stderr."""
    done = run("simulator", **{"LANDING_DIR": landing, "TRANSACTIONS": 10, **settings})
    assert done.returncode == code
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
