"""The fraud detector: against logistic regression on real rows, and against what can be known on simulated ones.

    GIGOGNE_REAL_DATA=../shared/data python benchmarks/fraud_model.py --repeats 3 --transactions 250000

Real rows are parsed as `logger_sql` does, and judged by cards that were not learned from: stratified folds of cards,
shuffled anew in each repeat. Identity and dates are no features. Simulated rows are split as `train_fraud` does it, by
time and by card, at the natural share of 0.4 % and with the truth about all of them, but in the middle: there are more
frauds to judge by. The oracle knows how the simulator draws, and not what it drew. Every interval is a bootstrap over
cards, and differences and ratios are paired: both are judged on the same resample. One score is timed by the
processor's clock, alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.paired import machine  # noqa: E402

from fraud.features import Transaction, features_of  # noqa: E402
from fraud.generator import Event, Generator  # noqa: E402
from fraud.scenario.oracle import Oracle  # noqa: E402
from fraud.training.dataset import Examples, is_held_out, split  # noqa: E402
from fraud.training.evaluation import Interval, average_precision, baseline, resampled  # noqa: E402
from fraud.training.fitting import detector_of, fit, forest  # noqa: E402
from fraud.transactions import COLUMNS, RejectedError, parse_transaction  # noqa: E402

FOLDS = 5
FIRST_SEED = 101
# Sources of the real rows: in one, frauds are nearly half, one has nothing else; the others are at the natural share.
NATURAL = frozenset("bcde")
Floats = npt.NDArray[np.float64]
REVIEW_COST = 10.0
# Longer than there are data: the later half is judged.
ALWAYS = timedelta(days=10_000)


def main() -> None:
    """Measure, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--transactions", type=int, default=250_000)
    options.add_argument("--seed", type=int, default=42)
    given = options.parse_args()
    print(machine(), "\n")
    if folder := os.environ.get("GIGOGNE_REAL_DATA"):
        real(Path(folder) / "fraud" / "transactions.csv", given.repeats)
    else:
        print("GIGOGNE_REAL_DATA names no folder: without fraud/transactions.csv there are no real rows\n")
    simulated(given.seed, given.transactions)


def real(path: Path, repeats: int) -> None:
    """Both on the same folds of real cards."""
    rows, fraud, natural = read(path)
    in_order = list(features_of(rows))
    place = {row.trans_num: number for number, row in enumerate(rows)}
    numbers = [place[row.trans_num] for row, _ in in_order]
    examples = Examples(
        np.array([found for _, found in in_order]),
        fraud[numbers],
        np.array([row.amt for row, _ in in_order]),
        np.array([row.cc_num for row, _ in in_order]),
    )
    mine, theirs = scores(examples, repeats)
    print(f"Real rows: {len(examples):,} of {len(np.unique(examples.card)):,} cards, {examples.frauds:,} frauds.\n")
    for name, which in (("all sources", np.ones(len(examples), np.bool_)), ("at the natural share", natural[numbers])):
        print(f"{name}: {which.sum():,} rows, {examples.fraud[which].sum():,} frauds")
        tell(examples.of(which), {"logistic regression": theirs[:, which], "detector": mine[:, which]})


def read(path: Path) -> tuple[list[Transaction], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """The real rows that `logger_sql` takes, each number once; whether they are frauds, and at the natural share."""
    rows: dict[str, Transaction] = {}
    fraud, natural = [], []
    with path.open(newline="", encoding="utf-8") as file:
        for record in csv.DictReader(file):
            try:
                values = parse_transaction(json.dumps({name: record[name] for name in COLUMNS}).encode())
            except RejectedError:
                continue
            given = dict(zip(COLUMNS, values, strict=True))
            if given["trans_num"] not in rows:
                rows[given["trans_num"]] = transaction(given)
                fraud.append(record["is_fraud"] == "1")
                natural.append(record["source"] in NATURAL)
    return list(rows.values()), np.array(fraud), np.array(natural)


def transaction(given: dict[str, str]) -> Transaction:
    """What features are made of."""
    at, card, people = (
        datetime.fromisoformat(given["trans_date_trans_time"]),
        int(given["cc_num"]),
        int(given["city_pop"]),
    )
    amount, lat, long, merch_lat, merch_long = (
        float(given[name]) for name in ("amt", "lat", "long", "merch_lat", "merch_long")
    )
    name, merchant, category = (given[name] for name in ("trans_num", "merchant", "category"))
    return Transaction(name, card, at, merchant, category, amount, lat, long, merch_lat, merch_long, people)


def scores(examples: Examples, repeats: int) -> tuple[Floats, Floats]:
    """Of each repeat, what detector and baseline say of each row that they have not learned from."""
    mine, theirs = (np.zeros((repeats, len(examples))) for _ in range(2))
    for number in range(repeats):
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=FIRST_SEED + number)
        for learned, judged in folds.split(examples.rows, examples.fraud, examples.card):
            part = examples.of(learned)
            mine[number, judged] = detector_of(forest(part)).score(examples.rows[judged])
            theirs[number, judged] = baseline(part, examples.rows[judged])
        print(f"repeat {number + 1} of {repeats}", file=sys.stderr, flush=True)
    return mine, theirs


def tell(examples: Examples, said: dict[str, Floats]) -> None:
    """Print the table: the mean over the repeats, on each resample."""
    values = {
        name: statistics.fmean(average_precision(examples.fraud, each) for each in made) for name, made in said.items()
    }
    again = {name: np.mean(resampled(examples, *made), axis=0) for name, made in said.items()}
    print("\n| | PR-AUC on cards not learned from | 95 % by bootstrap over cards |\n|---|---|---|")
    for name, value in values.items():
        found = Interval.of(value, again[name])
        print(f"| {name} | {found.value:.3f} | {found.low:.3f} to {found.high:.3f} |")
    first, second = said
    gain = Interval.of(values[second] - values[first], again[second] - again[first])
    print(f"| gain, paired | {gain.value:+.3f} | {gain.low:+.3f} to {gain.high:+.3f} |\n")


def simulated(seed: int, count: int) -> None:
    """Detector, baseline and oracle on the held-out cards, in the later half of the time."""
    generator = Generator(seed)
    events = list(generator.events(0, count))
    oracle = Oracle(generator)
    knows = {event.truth.trans_num: oracle.score(event.transaction) for event in events}
    begin = time.process_time()
    truth = {event.truth.trans_num: event.is_fraud for event in events}
    parted = split([seen(event) for event in events], truth, ALWAYS)
    taken = time.process_time() - begin
    begin = time.process_time()
    detector = fit(parted.training, REVIEW_COST).detector
    training, held_out = parted.training, parted.held_out
    print(
        f"Simulated rows, seed {seed}: {count:,}; learned from {len(training):,} ({training.frauds:,} frauds), "
        f"judged by {len(held_out):,} ({held_out.frauds:,} frauds) from {parted.since} on.\n\n"
        f"Features: {1e6 * taken / count:.0f} µs of processor a transaction; the fit with its folds: "
        f"{time.process_time() - begin:.1f} s.\n"
    )
    bound = np.array([knows[event.truth.trans_num] for event in judged(events, parted.since)])
    said = {
        "logistic regression": baseline(training, held_out.rows),
        "detector": detector.score(held_out.rows),
        "oracle": bound,
    }
    values = {name: average_precision(held_out.fraud, each) for name, each in said.items()}
    again = dict(zip(said, resampled(held_out, *said.values()), strict=True))
    print("| | PR-AUC | 95 % by bootstrap over cards |\n|---|---|---|")
    for name, value in values.items():
        found = Interval.of(value, again[name])
        print(f"| {name} | {found.value:.3f} | {found.low:.3f} to {found.high:.3f} |")
    ratio = Interval.of(values["detector"] / values["oracle"], again["detector"] / again["oracle"])
    interval = f"{ratio.low:.3f} to {ratio.high:.3f}"
    print(f"| detector over oracle, paired (goal: at least 0.9) | {ratio.value:.3f} | {interval} |\n")
    one, seconds = held_out.rows[:1].tolist(), []
    for _ in range(1000):
        begin = time.process_time()
        detector.score(one)
        seconds.append(time.process_time() - begin)
    print(f"One score: {1e6 * statistics.median(seconds):.0f} µs of processor at the median.")


def seen(event: Event) -> Transaction:
    """What features are made of."""
    made = event.transaction
    numbers = [made[name] for name in ("amt", "lat", "long", "merch_lat", "merch_long", "city_pop")]
    return Transaction(made["trans_num"], made["cc_num"], event.at, made["merchant"], made["category"], *numbers)


def judged(events: list[Event], since: datetime) -> Iterator[Event]:
    """The held-out events, in the order of the held-out rows: all of their truth is known."""
    for event in sorted(events, key=lambda event: (event.at, event.truth.trans_num)):
        if event.at >= since and is_held_out(event.transaction["cc_num"]):
            yield event


if __name__ == "__main__":
    main()
