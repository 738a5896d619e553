"""The simulator, run as users run it."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.stack.conftest import Run

from fraud.generator import Generator
from fraud.transactions import COLUMNS, FIELDS


def batches(landing: Path) -> dict[str, bytes]:
    """The batches by name."""
    return {path.name: path.read_bytes() for path in sorted(landing.glob("*.jsonl"))}


def records(landing: Path) -> list[dict[str, Any]]:
    """The lines of all batches."""
    return [json.loads(line) for content in batches(landing).values() for line in content.splitlines()]


def told(landing: Path) -> list[dict[str, str]]:
    """The lines of all files of confirmations, in the order of the files."""
    files = sorted((landing / "confirmations").glob("*.csv"))
    return [row for path in files for row in csv.DictReader(path.read_text(encoding="ascii").splitlines())]


def test_the_default_is_a_hundred_thousand_transactions(run: Run, landing: Path) -> None:
    """Without settings there are forty days of them, with a prediction, and what is confirmed by then."""
    done = run("simulator", LANDING_DIR=landing)
    assert (done.returncode, done.stderr) == (0, "") or done.stderr.endswith(" transactions …\n")
    rows, truths = records(landing), told(landing)
    frauds = sum(row["is_fraud"] == "1" for row in truths)
    first, second = done.stdout.splitlines()
    assert first == f"100,000 transactions in 100 batches → {landing}"
    assert second.startswith(f"{len(truths):,} confirmations ({frauds:,} frauds) in ")
    assert second.endswith(f" files → {landing / 'confirmations'}")
    assert all(tuple(row) == FIELDS for row in rows)
    assert 200 <= sum(row["is_fraud"] for row in rows) <= 1_000
    moments = [row["trans_date_trans_time"] for row in rows]
    assert sorted(moments) == moments and moments[0] < "2025-01-02" and moments[-1] >= "2025-02-09"
    at = dict(zip((row["trans_num"] for row in rows), moments, strict=True))
    assert len(at) == 100_000
    assert frauds >= 200 and 80_000 < len(truths) == len({row["trans_num"] for row in truths})
    assert all(at[row["trans_num"]] <= row["confirmed_at"] <= moments[-1] for row in truths)
    assert {row["confirmed_by"] for row in truths} == {"holder", "chargeback", "unchallenged"}


def test_ranges_that_continue_each_other_confirm_once(run: Run, tmp_path: Path) -> None:
    """Two runs bring the same batches and the same truths as one does; none is brought twice."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    days = {"BATCH_SIZE": 2_500, "SEED": 4}
    run("simulator", LANDING_DIR=whole, TRANSACTIONS=22_500, **days)
    for start in (0, 10_000):
        size = 10_000 if not start else 12_500
        run("simulator", LANDING_DIR=parts, TRANSACTIONS=size, START=start, **days)
    assert batches(whole) == batches(parts)
    assert told(whole) == told(parts) and len(told(whole)) > 4_000
    files = [sorted((folder / "confirmations").iterdir()) for folder in (whole, parts)]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


def test_a_second_run_leaves_confirmations_untouched(run: Run, landing: Path) -> None:
    """A file that is there with its content is not written again; a damaged one is replaced, a half one swept."""
    run("simulator", LANDING_DIR=landing, TRANSACTIONS=18_000, BATCH_SIZE=18_000)
    (file,) = (landing / "confirmations").iterdir()
    content, half = file.read_bytes(), file.with_name(f".{file.name}.1.tmp")
    for damage, time_stays in ((content, True), (content[:-1], False)):
        file.write_bytes(damage)
        half.touch()
        for path in (file, half):
            os.utime(path, (1, 1))
        run("simulator", LANDING_DIR=landing, TRANSACTIONS=18_000, BATCH_SIZE=18_000)
        assert file.read_bytes() == content and (file.stat().st_mtime == 1) is time_stays and not half.exists()


def test_drift_has_batches_of_its_own(run: Run, landing: Path) -> None:
    """They do not take the names of others, and begin to differ on the day."""
    for drift in ("", "amounts:2@2025-01-02"):
        run("simulator", LANDING_DIR=landing, TRANSACTIONS=5_000, BATCH_SIZE=2_500, DRIFT=drift)
    drifting, plain = (sorted(landing.glob(f"seed-42{name}-00*.jsonl")) for name in ("-drift-????????", ""))
    assert len(plain) == len(drifting) == 2
    assert plain[0].read_bytes() == drifting[0].read_bytes()
    assert plain[1].read_bytes() != drifting[1].read_bytes()


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


def test_a_stray_quote_spoils_its_line_alone(run: Run, landing: Path, tmp_path: Path) -> None:
    """The rest of the CSV goes on; the line is told, and stays wrong in the batch with its number and its text."""
    row = ",".join(["x"] * len(FIELDS))
    source = tmp_path / "rows.csv"
    source.write_text("".join(f"{line}\n" for line in [",".join(FIELDS), row, f'"{row}', "", row, row]))
    done = run("simulator", LANDING_DIR=landing, TRANSACTIONS_CSV=source)
    assert (done.returncode, done.stdout) == (0, f"4 transactions in 1 batches → {landing}\n")
    assert done.stderr == "rows.csv, line 3: broken CSV: unexpected end of data\n"
    first, broken, *rest = records(landing)
    assert broken == {"(line 3 of the CSV is broken)": f'"{row}'}
    assert [first, *rest] == [dict.fromkeys(FIELDS, "x")] * 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (";".join(FIELDS).encode(), "has semicolons between its columns ('trans_date_trans_time;cc_num;"),
        ("\t".join(FIELDS).encode(), "has tabs between its columns"),
        (",".join(FIELDS).encode("utf-16"), "is not UTF-8 but most likely UTF-16: save it as UTF-8"),
        (b"a,b\n1,2\n", "begins with 'a,b', not with the line trans_date_trans_time,cc_num,"),
        (b'"a,b\n1,2\n', "begins with '\"a,b': broken CSV: unexpected end of data"),
        (",".join(FIELDS[2:]).encode(), "lacks the columns trans_date_trans_time, cc_num"),
    ],
)
def test_a_file_without_the_header(run: Run, landing: Path, tmp_path: Path, content: bytes, message: str) -> None:
    """What is wrong with it is told: most likely its delimiter, or its encoding."""
    source = tmp_path / "rows.csv"
    source.write_bytes(content)
    done = run("simulator", LANDING_DIR=landing, TRANSACTIONS_CSV=source)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert f"error: TRANSACTIONS_CSV {source} {message}" in done.stderr


def test_a_pipe_of_windows(run: Run, landing: Path) -> None:
    """Its encoding lacks the arrow; the work is done, and what is said of it is UTF-8."""
    done = run("simulator", LANDING_DIR=landing, TRANSACTIONS=5, PYTHONIOENCODING="cp1252")
    assert (done.returncode, done.stderr) == (0, "") and f"5 transactions in 1 batches → {landing}\n" in done.stdout


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        ({"TRANSACTIONS": "many"}, 2, "TRANSACTIONS='many' is not a whole number"),
        ({"BATCH_SIZE": "0"}, 2, "BATCH_SIZE=0 is too small"),
        ({"SEED": "-1"}, 2, "SEED=-1 is too small"),
        ({"DRIFT": "amuonts:2@2025-01-01"}, 2, "DRIFT: there is no kind 'amuonts': did you mean amounts?"),
        ({"TRANSACTIONS_CSV": "/nowhere.csv"}, 1, "cannot read TRANSACTIONS_CSV /nowhere.csv"),
        ({"TRANSACTIONS_CSV": __file__}, 1, "not with the line trans_date_trans_time,"),
        ({"START": "9999999999"}, 2, "START + TRANSACTIONS is 10,000,000,009: 159,792,500 is the most"),
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
