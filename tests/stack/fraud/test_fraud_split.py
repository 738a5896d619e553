"""What a detector learns from and is judged by: no card and no later time in common, and nothing that is not ripe."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from fraud.features import FEATURES, Transaction, features_of
from fraud.training.dataset import LATER, Split, is_held_out, ripe_until, split
from job.errors import JobError

from .scenes import known, simulated
from .transactions import transaction

BEGIN = datetime(2025, 1, 1)
Scene = tuple[list[Transaction], dict[str, bool]]


@pytest.fixture(scope="module")
def scene() -> Scene:
    """Twenty-four days of the simulator, as they are known at their end."""
    events = simulated(60_000)
    return [transaction(event) for event in events], known(events)


@pytest.fixture(scope="module")
def parted(scene: Scene) -> Split:
    """The same, parted."""
    return split(*scene)


def plain(count: int, fraud: float = 0.0) -> Scene:
    """One transaction an hour, each of another card; all are confirmed, and every so many is a fraud."""
    rows = [
        Transaction(
            f"{number:06}", number, BEGIN + timedelta(hours=number), "m", "home", 5.0, 40.0, -75.0, 40.0, -75.0, 9
        )
        for number in range(count)
    ]
    return rows, {row.trans_num: bool(fraud) and row.cc_num % round(1 / fraud) == 0 for row in rows}


def test_no_card_and_no_later_time_leaks(scene: Scene, parted: Split) -> None:
    """Whoever is judged was never learned from, and all that was learned lies before it."""
    rows, truth = scene
    assert not set(parted.training.card.tolist()) & set(parted.held_out.card.tolist())
    assert all(map(is_held_out, parted.held_out.card.tolist()))
    assert not any(map(is_held_out, parted.known.card.tolist()))
    in_order = list(features_of(rows))
    learned = [
        row for row, _ in in_order if row.at < parted.since and not is_held_out(row.cc_num) and row.trans_num in truth
    ]
    judged = [
        (row, found)
        for row, found in in_order
        if parted.since <= row.at <= parted.until and is_held_out(row.cc_num) and row.trans_num in truth
    ]
    assert [row.cc_num for row in learned] == parted.training.card.tolist()
    assert np.array_equal([found for _, found in judged], parted.held_out.rows, equal_nan=True)
    assert [truth[row.trans_num] for row, _ in judged] == parted.held_out.fraud.tolist()
    assert [row.amt for row, _ in judged] == parted.held_out.amount.tolist()


def test_every_transaction_is_counted_once(scene: Scene, parted: Split) -> None:
    """Learned from, judged by, waiting, too recent or of neither side: together they are all."""
    counts = parted.counts
    parts = ("training_rows", "later_rows", "held_out_rows", "waiting_rows", "unripe_rows", "unused_rows")
    assert sum(counts[name] for name in parts) == counts["transactions"] == len(scene[0])
    assert counts["waiting_rows"] == len(scene[0]) - len(scene[1])
    assert all(counts[name] > 0 for name in parts)
    assert parted.training.rows.shape == (counts["training_rows"], len(FEATURES))


def test_what_is_confirmed_of_the_last_week_is_mostly_fraud_and_not_used(scene: Scene, parted: Split) -> None:
    """The share of frauds is that of all time: of the last days, only frauds are known."""
    rows, truth = scene
    end = max(row.at for row in rows)
    week = [row.trans_num for row in rows if row.at > end - timedelta(days=7)]
    late = [truth[name] for name in week if name in truth]
    assert len(late) > 20 and all(late)
    assert timedelta(days=7) <= end - parted.until < timedelta(days=7.5)
    share = (parted.training.frauds + parted.held_out.frauds) / (len(parted.training) + len(parted.held_out))
    assert 0.001 < share < 0.01


def test_one_early_word_makes_no_day_ripe(scene: Scene, parted: Split) -> None:
    """A holder who says today that yesterday's purchase was theirs does not bring last week's frauds in."""
    rows, truth = scene
    early = dict(truth) | {max(rows, key=lambda row: row.at).trans_num: False}
    assert ripe_until(rows, early) == parted.until == ripe_until(rows, truth)


def test_where_a_part_is_confirmed_at_random_all_of_it_is_ripe() -> None:
    """As a demonstration has it: a quarter of all transactions, whenever they were."""
    rows, truth = plain(2000)
    chance = np.random.default_rng(0)
    some = {name: said for name, said in truth.items() if chance.random() < 0.25}
    assert ripe_until(rows, some) >= BEGIN + timedelta(hours=1980)


def test_the_judged_time_is_two_weeks_or_half() -> None:
    """Of a long history the last two weeks; of a short one the later half."""
    rows, truth = plain(3000, fraud=0.1)
    long = split(rows, truth)
    assert long.since == long.until - LATER and long.until == max(row.at for row in rows if not truth[row.trans_num])
    rows, truth = plain(500, fraud=0.25)
    assert split(rows, truth).since == rows[250].at


def test_one_card_in_three_is_held_out_for_good() -> None:
    """By its number alone; whatever else changes, it stays so."""
    assert 0.31 < np.mean([is_held_out(card) for card in range(20_000)]) < 0.36
    assert [card for card in range(20) if is_held_out(card)] == [3, 4, 6, 13, 16, 17, 18]


def test_the_sample_of_the_last_days_is_of_all_transactions(scene: Scene, parted: Split) -> None:
    """For drift: those of the last week, confirmed or not, and the first of all: it tells how long there was data."""
    rows = sorted(scene[0], key=lambda row: (row.at, row.trans_num))
    week = [row for row in rows if row.at > rows[-1].at - timedelta(days=7)]
    assert [row for row, _ in parted.recent] == [rows[0], *week]


def test_too_few_frauds_are_refused_with_numbers() -> None:
    """Never a model of nothing: how many there are, how many are wanted, and what to do."""
    rows, truth = plain(600, fraud=0.02)
    with pytest.raises(
        JobError, match=r"too few confirmed frauds: \d to learn from and \d to judge by .* 20 and 5 are .*"
    ):
        split(rows, truth)
    with pytest.raises(JobError, match=r"none of 600 transactions is confirmed.*docker compose up confirm"):
        split(rows, {})
    with pytest.raises(JobError, match="all 600 confirmed transactions are frauds"):
        split(rows, dict.fromkeys(truth, True))


def test_the_order_of_the_rows_decides_nothing(scene: Scene, parted: Split) -> None:
    """Sorted by card, as the extract has them, or by time: the same examples."""
    rows, truth = scene
    again = split(sorted(rows, key=lambda row: (row.cc_num, row.at, row.trans_num)), truth)
    assert np.array_equal(again.known.rows, parted.known.rows, equal_nan=True)
    assert again.known.card.tolist() == parted.known.card.tolist()
    assert (again.counts, again.since, again.until) == (parted.counts, parted.since, parted.until)
