"""The scenario: what it promises of cards, thieves, truth and drift; and the oracle that bounds models."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random
from statistics import median

import numpy as np
import pytest
from scipy.stats import chi2_contingency, ks_2samp
from sklearn.metrics import average_precision_score

from fraud.generator import UNCHALLENGED_AFTER, Event, Generator
from fraud.scenario.days import DAY, PER_DAY
from fraud.scenario.drift import Drift
from fraud.scenario.oracle import Oracle
from fraud.scenario.patterns import FRAUD_RATE
from fraud.scenario.purchases import Purchase
from fraud.scenario.rules import predicted
from job.errors import SettingError

BEGIN = datetime(2025, 1, 1)
DAYS = 24
# How rarely months that do not differ are said to: the draws are always the same, so each test passes always or never.
LEVEL = 0.001


@pytest.fixture(scope="module")
def events() -> list[Event]:
    """Twenty-four days of a seed."""
    return list(Generator(42).events(0, DAYS * PER_DAY))


@pytest.fixture(scope="module")
def scores(events: list[Event]) -> np.ndarray:
    """What the oracle says of them."""
    oracle = Oracle(Generator(42))
    return np.array([oracle.score(event.transaction) for event in events])


def episodes(events: Sequence[Event], pattern: str) -> list[list[Event]]:
    """The episodes of a pattern: frauds on one card that are found at the same moment."""
    found: dict[tuple[int, datetime], list[Event]] = defaultdict(list)
    for event in events:
        if event.pattern == pattern:
            found[event.transaction["cc_num"], event.truth.confirmed_at].append(event)
    return list(found.values())


def distance(event: Event) -> float:
    """Degrees between a shop and its customer's home."""
    of = event.transaction
    return math.hypot(of["lat"] - of["merch_lat"], of["long"] - of["merch_long"])


def is_online(event: Event) -> bool:
    """Whether it was bought online."""
    return bool(event.transaction["category"].endswith("_net"))


def test_a_seed_has_these_transactions() -> None:
    """On every machine and Python: what was drawn before a release is what is drawn after it."""
    generator = Generator(42)
    drawn = json.dumps([generator.event(number).transaction for number in range(0, 5 * PER_DAY, 50)])
    assert hashlib.sha256(drawn.encode()).hexdigest() == (
        "fe229b0ee80b1194c6f6955e976280e4f6c41546b7d1ed9bf33bddb7dedbe93b"
    )


def test_transactions_can_be_asked_for_in_any_order(events: list[Event]) -> None:
    """A day does not depend on the days that were made before it."""
    generator = Generator(42)
    for number in (23 * PER_DAY + 7, 3, 9 * PER_DAY, 9 * PER_DAY - 1, 4):
        assert generator.event(number) == events[number]
    assert len({event.transaction["trans_num"] for event in events}) == len(events)
    assert all(one.at <= other.at for one, other in pairwise(events))


def test_four_in_a_thousand_are_frauds() -> None:
    """On average over two years, the holders' own and the thieves' purchases together."""
    world = Generator(1).world
    frauds = sum(purchase.fraud is not None for day in range(0, 720, 12) for purchase in world.purchases(day))
    # Episodes have several purchases, so the spread is about twice that of single ones: 49.
    assert frauds == pytest.approx(60 * PER_DAY * FRAUD_RATE, abs=3 * 49)


def month(drift: str, first: int) -> list[Purchase]:
    """A few purchases of every fifth day of a month: hardly ever two of one way."""
    world, sample = Generator(3, Drift.parse(drift)).world, Random(first).sample
    return [purchase for day in range(first, first + 30, 5) for purchase in sample(world.purchases(day), 400)]


def differ(one: list[Purchase], other: list[Purchase]) -> dict[str, float]:
    """How likely two months would look as different as this, if they were of one kind: by category, hour, amount."""
    kinds = {"category": lambda each: each.category, "hour": lambda each: each.second % DAY // 3600}
    counts = {name: [Counter(map(kind, month)) for month in (one, other)] for name, kind in kinds.items()}
    tables = {name: [[each[key] for key in sorted(both[0])] for each in both] for name, both in counts.items()}
    amounts = ks_2samp(*([each.amount for each in month] for month in (one, other)))
    return {**{name: chi2_contingency(table).pvalue for name, table in tables.items()}, "amount": amounts.pvalue}


def test_months_do_not_differ() -> None:
    """By category, hour and amount the first and the fiftieth month pass a test that drift fails, one by one."""
    first, fiftieth = month("", 0), month("", 1500)
    alike = differ(first, fiftieth)
    assert min(alike.values()) > LEVEL, alike
    for shift, changed in (("amounts:1.3", "amount"), ("night:2", "hour"), ("travel:3", "category")):
        shifted = differ(first, month(f"{shift}@2025-02-01", 1500))
        assert shifted[changed] < LEVEL, (shift, shifted)


def test_holders_are_in_one_place_at_a_time(events: list[Event]) -> None:
    """Between shops of two towns there are hours; only thieves make impossible journeys."""
    last: dict[int, Event] = {}
    trips = 0
    for event in events:
        if event.is_fraud or is_online(event):
            continue
        before = last.get(event.transaction["cc_num"])
        if before is not None and _apart(before, event) > 3:
            trips += 1
            assert event.at - before.at >= timedelta(hours=4)
        last[event.transaction["cc_num"]] = event
    assert trips > 20


def _apart(one: Event, other: Event) -> float:
    places = [(each.transaction["merch_lat"], each.transaction["merch_long"]) for each in (one, other)]
    return math.dist(*places)


def test_holders_have_habits(events: list[Event]) -> None:
    """A card comes back to its merchants and its hours, and spends its own amounts."""
    by_card: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        if not event.is_fraud:
            by_card[event.transaction["cc_num"]].append(event)
    busy = sorted(by_card.values(), key=len)[-100:]
    assert len(busy[0]) > 100
    known = [len({e.transaction["merchant"] for e in card}) / len(card) for card in busy]
    anybody = len({e.transaction["merchant"] for e in events[: len(busy[0])]}) / len(busy[0])
    assert max(known) < anybody
    means = [np.mean([math.log(e.transaction["amt"]) for e in card]) for card in busy]
    assert np.std(means) > 2 * np.std([math.log(e.transaction["amt"]) for e in events]) / math.sqrt(len(busy[0]))


def test_thieves_test_a_card_and_then_use_it(events: list[Event]) -> None:
    """Small amounts online within minutes, then a large one."""
    found = [each for each in episodes(events, "testing") if len(each) > 2]
    assert len(found) > 10
    for episode in found:
        *small, large = [event.transaction["amt"] for event in episode]
        assert all(map(is_online, episode)) and large > 10 * median(small)
        assert episode[-2].at - episode[0].at < timedelta(minutes=30)


def test_a_stolen_card_is_used_far_from_home(events: list[Event]) -> None:
    """In the shops of one other town, in quick succession."""
    found = episodes(events, "stolen")
    assert len(found) > 10
    for episode in found:
        assert not any(map(is_online, episode))
        assert max(_apart(episode[0], event) for event in episode) < 3
    assert median(distance(event) for episode in found for event in episode) > 5
    gaps = [(other.at - one.at) / timedelta(minutes=1) for episode in found for one, other in pairwise(episode)]
    assert 5 < median(gaps) < 20


def test_an_account_is_taken_over_at_night(events: list[Event]) -> None:
    """Large purchases online, beginning between ten and four."""
    found = episodes(events, "takeover")
    assert len(found) > 10
    assert {episode[0].at.hour for episode in found} <= {22, 23, 0, 1, 2, 3}
    assert all(is_online(event) for episode in found for event in episode)
    assert median(event.transaction["amt"] for episode in found for event in episode) > 250


def test_the_truth_comes_once_and_late(events: list[Event]) -> None:
    """Genuine ones are unchallenged after a week; frauds are found by their holders after days, all of an episode."""
    generator, until = Generator(42), events[-1].at
    steps = [BEGIN + step * timedelta(hours=17, minutes=3) for step in range(50)]
    pieces = [generator.confirmations(one, min(other, until)) for one, other in pairwise(steps) if one < until]
    told = [truth for piece in pieces for truth in piece]
    known = [event.truth for event in events if event.truth.confirmed_at <= until]
    assert sorted(told, key=str) == sorted(known, key=str)
    assert [truth.confirmed_at for truth in told] == sorted(truth.confirmed_at for truth in told)
    delays = sorted((e.truth.confirmed_at - e.at) / timedelta(days=1) for e in events if e.is_fraud)
    assert 1.5 < median(delays) < 4 and delays[0] >= 0 and 7 < delays[-1] <= 31
    for event in events:
        by, delay = event.truth.confirmed_by, event.truth.confirmed_at - event.at
        assert (by == "unchallenged") is not event.is_fraud
        assert event.is_fraud or delay == UNCHALLENGED_AFTER
        assert by != "holder" or delay <= timedelta(days=7)


def test_rules_of_thumb_are_imperfect(events: list[Event]) -> None:
    """They find some of the frauds, and are wrong about as often; the README says how often."""
    called = [event for event in events if predicted(event.transaction, event.at)]
    rightly = sum(event.is_fraud for event in called)
    assert 0.3 < rightly / len(called) < 0.6
    assert 0.3 < rightly / sum(event.is_fraud for event in events) < 0.6


def test_drift_changes_nothing_before_its_day() -> None:
    """And something from then on."""
    plain, drifting = Generator(5), Generator(5, Drift.parse("amounts:2@2025-01-04"))
    assert [plain.event(n) for n in range(0, 3 * PER_DAY, 11)] == [drifting.event(n) for n in range(0, 3 * PER_DAY, 11)]
    after = range(3 * PER_DAY, 4 * PER_DAY)
    amounts = [median(each.event(n).transaction["amt"] for n in after) for each in (plain, drifting)]
    assert amounts[1] / amounts[0] == pytest.approx(2, rel=0.1)
    assert plain.name != drifting.name


@pytest.mark.parametrize(
    ("shift", "kind"),
    [
        ("night:3", lambda event: not event.is_fraud and event.at.hour in {22, 23, 0, 1, 2, 3, 4}),
        ("frauds:3", lambda event: event.is_fraud),
        ("stolen:5", lambda event: event.pattern == "stolen"),
        ("shopping_net:3", lambda event: event.transaction["category"] == "shopping_net"),
    ],
)
def test_drift_shifts_what_it_names(shift: str, kind: object) -> None:
    """More of it, about as much as was asked for where that leaves room."""
    assert callable(kind)
    plain, drifting = (Generator(6, Drift.parse(each)) for each in ("", f"{shift}@2025-01-01"))
    counts = [sum(map(kind, each.events(0, 8 * PER_DAY))) for each in (plain, drifting)]
    assert 1.8 < counts[1] / counts[0] < 1.6 * float(shift.partition(":")[2])


def test_shifts_of_a_kind_are_multiplied() -> None:
    """Each from its day on; blanks and a trailing comma do no harm."""
    drift = Drift.parse(" amounts:2@2025-01-02, amounts:1.5@2025-01-03 ,")
    factors = [drift.on(BEGIN.date() + timedelta(days=day))["amounts"] for day in range(3)]
    assert factors == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("amuonts:2@2025-01-01", "there is no kind 'amuonts': did you mean amounts?"),
        ("weather:2@2025-01-01", "it has amounts, night, merchants, frauds, testing, "),
        ("amounts=2", "'amounts=2' is not KIND:FACTOR@DAY, as in amounts:1.5@2025-02-01"),
        ("amounts:-1@2025-01-01", "is not KIND:FACTOR@DAY"),
        ("amounts:2@2025-02-30", "a day is written 2025-02-01"),
        ("frauds:1000@2025-02-01", "a factor is at most 100"),
    ],
)
def test_a_drift_that_is_none_is_said(text: str, message: str) -> None:
    """What is wrong with it, and how it is written."""
    with pytest.raises(SettingError, match=r"^DRIFT: ") as refused:
        Drift.parse(text)
    assert message in str(refused.value)


def test_the_oracle_says_what_it_knows(events: list[Event], scores: np.ndarray) -> None:
    """Its probabilities are those of what happens; it finds what can be found, and not the stealthy ones."""
    truth = np.array([event.is_fraud for event in events])
    for low, high in ((0.0, 0.01), (0.01, 0.5), (0.5, 1.01)):
        some = (scores >= low) & (scores < high)
        spread = 3 * 2 * math.sqrt((scores[some] * (1 - scores[some])).sum())
        assert truth[some].sum() == pytest.approx(scores[some].sum(), abs=spread)
    precision = average_precision_score(truth, scores)
    rules = average_precision_score(truth, [predicted(event.transaction, event.at) for event in events])
    assert rules + 0.4 < precision < 0.95
    stealthy = [score for score, event in zip(scores, events, strict=True) if event.pattern == "stealthy"]
    assert len(stealthy) > 10 and max(stealthy) < 0.5


def test_the_oracle_knows_no_future(events: list[Event], scores: np.ndarray) -> None:
    """What comes later changes nothing; nor does the name of a transaction."""
    oracle = Oracle(Generator(42))
    some = [oracle.score({**event.transaction, "trans_num": ""}) for event in events[:PER_DAY]]
    assert some == list(scores[:PER_DAY])


def test_a_day_is_a_day() -> None:
    """Each has as many transactions as the next, and all of them within it."""
    world = Generator(9, Drift.parse("frauds:20@2025-01-01")).world
    for day in (0, 1, 700):
        purchases = world.purchases(day)
        assert len(purchases) == PER_DAY
        assert all(day * DAY <= purchase.second < (day + 1) * DAY for purchase in purchases)
