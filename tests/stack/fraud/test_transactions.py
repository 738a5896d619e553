"""One line of a batch: a row in PostgreSQL's spelling, or a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fraud.generator import Generator
from fraud.transactions import FIELDS, RejectedError, parse

GOOD = Generator(1).transaction(0)
LEFT_OUT = object()


def line(**changes: Any) -> bytes:
    """A good line with some fields changed or left out."""
    record = {name: value for name, value in {**GOOD, **changes}.items() if value is not LEFT_OUT}
    return json.dumps(record).encode()


def parsed(**changes: Any) -> dict[str, str]:
    """A good line with some fields changed, as its row."""
    return dict(zip(FIELDS, parse(line(**changes)), strict=True))


def test_a_generated_line_is_a_row() -> None:
    """What the simulator makes passes, and keeps its values."""
    row = parsed()
    assert row["trans_num"] == GOOD["trans_num"]
    assert row["trans_date_trans_time"] == GOOD["trans_date_trans_time"]
    assert float(row["lat"]) == GOOD["lat"]
    assert row["is_fraud"] in {"t", "f"}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("cc_num", "630423337322.0", "630423337322"),
        ("cc_num", "4.2259901164812626e+18", "4225990116481262600"),
        ("cc_num", 9223372036854775807, "9223372036854775807"),
        ("amt", "2.9", "2.9"),
        ("amt", "107.2300", "107.23"),
        ("amt", "1e2", "100.00"),
        ("zip", 7208, "07208"),
        ("zip", "7208.0", "07208"),
        ("zip", "12345-6789", "12345-6789"),
        ("unix_time", "1325376044.0", "1325376044"),
        ("lat", "30.250999999999998", "30.250999999999998"),
        ("is_fraud", "1", "t"),
        ("is_fraud", 0, "f"),
        ("is_fraud", "True", "t"),
        ("first", "  Zoë ", "Zoë"),
        ("merchant", 'tab\there, "quote", back\\slash', 'tab\there, "quote", back\\slash'),
    ],
)
def test_spellings_of_the_sources_become_one(name: str, value: Any, expected: str) -> None:
    """Numbers written by data frames, lost zeros of zip codes, and booleans of any kind are understood."""
    assert parsed(**{name: value})[name] == expected


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("amt", "lots", "amt: 'lots' is not a number"),
        ("amt", -1, "out of range"),
        ("amt", "1.005", "fractions of a cent"),
        ("amt", 1e30, "out of range"),
        ("amt", None, "amt: missing"),
        ("amt", "1_000", "not a number"),
        ("amt", True, "not a number"),
        ("cc_num", "630423337322.5", "not a whole number"),
        ("cc_num", 2**63, "out of range"),
        ("cc_num", "1e999", "out of range"),
        ("city_pop", -1, "out of range"),
        ("city_pop", 2**31, "out of range"),
        ("lat", 90.5, "not between"),
        ("lat", "nan", "not a number"),
        ("zip", "SW1A 1AA", "not a zip code"),
        ("first", 5, "not a text"),
        ("first", "", "first: empty"),
        ("first", None, "first: missing"),
        ("first", "a\0b", "NUL"),
        ("first", "\ud800", "not Unicode"),
        ("first", ["a"], "not a text"),
        ("is_fraud", "perhaps", "neither true nor false"),
        ("is_fraud", 2, "neither true nor false"),
        ("trans_num", "x" * 201, "longer than"),
        ("unix_time", 10**13, "out of range"),
        ("dob", "2999-01-01", "after the transaction"),
        ("dob", "32/01/1970", "no such day"),
        ("trans_date_trans_time", "soon", "not a date"),
        ("amt", LEFT_OUT, "missing amt"),
        ("colour", "red", "unknown 'colour'"),
    ],
)
def test_a_wrong_field_is_named_with_its_reason(name: str, value: Any, reason: str) -> None:
    """What a column cannot hold rejects the line, in words."""
    with pytest.raises(RejectedError) as caught:
        parse(line(**{name: value}))
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{", "broken JSON"),
        (line()[:-20], "broken JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[1, 2]", "not a JSON object"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"amt": NaN}', "NaN is not a number"),
        (b"{}", "missing trans_date_trans_time"),
        (line().replace(b'"amt": ', b'"amt": 1e9999999999999999999, "x": '), "unknown 'x'"),
        (line().replace(b'"amt": ', b'"amt": 1e9999999999999999999 ') + b"}", "broken JSON"),
    ],
)
def test_a_line_that_is_no_object_is_rejected(text: bytes, reason: str) -> None:
    """Whatever the bytes are, the answer is a reason and never a crash."""
    with pytest.raises(RejectedError, match=reason):
        parse(text)
