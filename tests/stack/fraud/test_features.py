"""Features: the same for training and for serving, to the bit; of a transaction and its card's past alone."""

from __future__ import annotations

import csv
import json
import math
import struct
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from fraud.features import CATEGORIES, FEATURES, WINDOW, Card, Transaction, features, features_of
from fraud.transactions import COLUMNS, RejectedError, parse_transaction

from .scenes import simulated
from .transactions import transaction

NOON = datetime(2025, 3, 1, 12)
HERE = Transaction("t0", 1, NOON, "m", "grocery_pos", 50.0, 40.0, -75.0, 40.1, -75.0, 5000)
SHORT = timedelta(seconds=1)


def bits(row: Sequence[float]) -> list[bytes]:
    """The numbers themselves: NaN is equal to itself."""
    return [struct.pack("<d", value) for value in row]


def named(now: Transaction, *past: Transaction) -> dict[str, float]:
    """The features by their names."""
    return dict(zip(FEATURES, features(now, past), strict=True))


def before(name: str, ago: timedelta, **changed: object) -> Transaction:
    """A transaction of the same card, so long before noon."""
    return replace(HERE, trans_num=name, at=NOON - ago, **changed)  # type: ignore[arg-type]


def check_both_ways(rows: list[Transaction], chance: Random, share: float) -> None:
    """`features` gives a share of the rows what `features_of` gives, whatever else it is handed, in any order."""
    cards: dict[int, list[Transaction]] = defaultdict(list)
    for row in rows:
        cards[row.cc_num].append(row)
    compared = 0
    for row, found in features_of(chance.sample(rows, len(rows))):
        if chance.random() < share:
            past = [each for each in cards[row.cc_num] if each.at > row.at - WINDOW - timedelta(days=2)]
            exactly = [each for each in past if row.at - WINDOW < each.at and _before(each, row)]
            assert bits(features(row, sorted(exactly, key=lambda each: (each.at, each.trans_num)))) == bits(found)
            assert bits(features(row, chance.sample(past, len(past)))) == bits(found)
            compared += 1
    assert compared > 100


def _of_text(given: dict[str, str]) -> Transaction:
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


def _before(one: Transaction, other: Transaction) -> bool:
    return (one.at, one.trans_num) < (other.at, other.trans_num)


def test_training_and_serving_compute_the_same() -> None:
    """Over 45 days of 40 cards, so that what is too old is forgotten: equal to the bit."""
    events = simulated(45 * 2500)
    some = set(sorted({event.transaction["cc_num"] for event in events})[::25])
    rows = [transaction(event) for event in events if event.transaction["cc_num"] in some]
    assert max(row.at for row in rows) - min(row.at for row in rows) > WINDOW + timedelta(days=10)
    check_both_ways(rows, Random(1), 0.1)


@pytest.mark.real_data
def test_training_and_serving_compute_the_same_of_real_rows(real_transactions: Path) -> None:
    """Real rows have cards of one transaction and of dozens, and several in one second: equal to the bit."""
    rows = []
    with real_transactions.open(newline="", encoding="utf-8") as file:
        for record in csv.DictReader(file):
            try:
                values = parse_transaction(json.dumps({name: record[name] for name in COLUMNS}).encode())
            except RejectedError:
                continue
            rows.append(_of_text(dict(zip(COLUMNS, values, strict=True))))
    assert len(rows) > 15_000
    check_both_ways(rows, Random(2), 0.2)


def test_rows_of_the_same_second_come_in_the_order_of_their_numbers() -> None:
    """Which of them is the past does not depend on how a database sorted them: B comes before a."""
    rows = [replace(HERE, trans_num=name, amt=amount) for name, amount in (("a", 1.0), ("B", 2.0), ("b", 3.0))]
    seen = {row.trans_num: dict(zip(FEATURES, found, strict=True)) for row, found in features_of(rows)}
    assert {name: found["count_1h"] for name, found in seen.items()} == {"B": 0.0, "a": 1.0, "b": 2.0}
    assert seen["b"]["amount_to_last"] == 3.0 and seen["b"]["last_seconds"] == 0.0
    assert bits(features(rows[2], rows)) == bits([seen["b"][name] for name in FEATURES])


def test_the_first_transaction_of_a_card() -> None:
    """It is what it is, counts are zero, and of what needs a past there is nothing to say."""
    found = named(HERE)
    assert (found["amount"], found["hour"], found["category"]) == (50.0, 12.0, CATEGORIES.index("grocery_pos"))
    assert found["home_km"] == pytest.approx(11.12, abs=0.01) and found["city_size"] == 4.0
    assert {found[name] for name in FEATURES if name.startswith(("count_", "online_1", "new_"))} == {0.0}
    silent = {name for name, value in found.items() if math.isnan(value)}
    assert silent == {
        *("shop_km", "shop_km_an_hour", "home_km_an_hour", "last_seconds", "online_seconds", "pace_24h"),
        *("amount_to_mean", "amount_to_last", "amount_deviation", "amount_deviation_in_category", "home_deviation"),
        *("hour_share", "category_share"),
    }


def test_windows_end_where_they_say() -> None:
    """What happened exactly an hour, a day, a week or thirty days ago is outside; a second later it is inside."""
    for name, length in (("1h", 1), ("24h", 24), ("7d", 7 * 24), ("30d", 30 * 24)):
        ago = timedelta(hours=length)
        assert named(HERE, before("a", ago))[f"count_{name}"] == 0.0
        assert named(HERE, before("a", ago - SHORT))[f"count_{name}"] == 1.0
    outside = named(HERE, before("a", WINDOW), before("later", -SHORT), HERE)
    assert bits(list(outside.values())) == bits(features(HERE, []))


def test_velocity_and_amounts() -> None:
    """Counts, sums and ratios, by hand."""
    past = [
        before("a", timedelta(days=10), amt=10.0),
        before("b", timedelta(days=2), amt=20.0, category="misc_net", merchant="n"),
        before("c", timedelta(minutes=50), amt=30.0, category="misc_net", merchant="o"),
        before("d", timedelta(minutes=10), amt=40.0),
    ]
    found = named(HERE, *past)
    assert [found[f"count_{name}"] for name in ("1h", "24h", "7d", "30d")] == [2.0, 2.0, 3.0, 4.0]
    assert [found[f"amount_{name}"] for name in ("1h", "24h", "7d")] == [70.0, 70.0, 90.0]
    assert (found["online_1h"], found["online_amount_1h"], found["online_seconds"]) == (1.0, 30.0, 3000.0)
    assert (found["new_merchants_1h"], found["merchant_count"]) == (1.0, 2.0)
    assert (found["last_seconds"], found["amount_to_mean"], found["amount_to_last"]) == (600.0, 2.0, 1.25)
    assert found["pace_24h"] == 2 * 10 / 4
    assert (found["category_count"], found["category_share"]) == (2.0, 0.5)
    # One of the four was at 11:10, one at 11:50, and two at noon of other days.
    assert found["hour_share"] == 1.0
    logs = [1000 * math.log(amount) for amount in (10, 40)]
    spread, mean = (logs[1] - logs[0]) / 2, sum(logs) / 2
    expected = (1000 * math.log(50) - mean) / spread
    assert found["amount_deviation_in_category"] == pytest.approx(expected, abs=0.01)


def test_ways() -> None:
    """The speed from the last shop, and from home since the last purchase near it; online is nowhere."""
    near = before("a", timedelta(hours=2))
    far = before("b", timedelta(hours=1), merch_lat=45.0)
    now = replace(HERE, merch_lat=45.1)
    found = named(now, near, far)
    assert found["shop_km"] == pytest.approx(11.12, abs=0.01)
    assert found["shop_km_an_hour"] == pytest.approx(11.12, abs=0.01)
    assert found["home_km_an_hour"] == pytest.approx(567.1 / 2, abs=0.1)
    online = before("c", timedelta(minutes=5), category="shopping_net", merch_lat=-10.0)
    assert named(now, near, far, online)["shop_km"] == found["shop_km"]
    assert math.isnan(named(replace(now, category="misc_net"), near, far)["shop_km_an_hour"])
    # In the same second, half the world away: a large number, and no division by zero.
    there = named(replace(HERE, trans_num="z", merch_lat=-40.1, merch_long=105.0), HERE)
    assert there["shop_km"] == pytest.approx(20015.1, abs=0.1) and there["shop_km_an_hour"] < 1.3e6


def test_the_date_line_is_no_wall() -> None:
    """181° is -179°, as merchants across the date line have it; the poles are points."""
    islander = replace(HERE, lat=0.0, long=179.95, merch_lat=0.0)
    for long in (180.05, -179.95):
        assert named(replace(islander, merch_long=long))["home_km"] == pytest.approx(11.12, abs=0.01)
    assert named(replace(HERE, lat=90.0, merch_lat=90.0, merch_long=100.0))["home_km"] == 0.0


def test_what_is_free_or_unheard_of() -> None:
    """An amount of nothing, a card that always pays nothing, and a category that no model knows."""
    free = [before(str(number), timedelta(hours=number), amt=0.0) for number in range(1, 5)]
    found = named(replace(HERE, category="gambling"), *free)
    assert math.isnan(found["category"]) and found["amount_to_mean"] == 5000.0
    assert found["amount_deviation"] == pytest.approx(math.log(5000) / 0.25, rel=1e-3)
    assert all(not math.isinf(value) for value in found.values())
    assert named(replace(HERE, amt=0.0), *free)["amount_deviation"] == 0.0


def test_no_identity_and_no_date_is_seen() -> None:
    """Another card, other numbers and other days, with everything else equal, are the same features."""
    past = [before(str(number), timedelta(hours=7 * number), amt=3.0 * number) for number in range(1, 60)]

    def moved(row: Transaction) -> Transaction:
        return replace(row, cc_num=9, trans_num="x" + row.trans_num, at=row.at + timedelta(days=400))

    assert bits(features(moved(HERE), [moved(row) for row in past])) == bits(features(HERE, past))
    unseen = {"first", "last", "gender", "street", "city", "state", "zip", "job", "dob", "unix_time"}
    assert not unseen & {field.name for field in fields(Transaction)}


def test_a_card_is_asked_again_and_again() -> None:
    """To ask changes nothing but what is too old; what was forgotten leaves no trace in the sums."""
    past = [before(f"x{number}", timedelta(days=5 - number)) for number in range(5)]
    card = Card()
    for number in range(200):
        card.add(before(str(number), timedelta(days=80, minutes=-number), amt=0.1 * number))
    for row in past:
        card.add(row)
    once, twice = card.features(HERE), card.features(HERE)
    assert bits(once) == bits(twice) == bits(features(HERE, past))
