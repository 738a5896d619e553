"""One line of a batch: a row in PostgreSQL's spelling, or a reason."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from fraud.generator import Generator
from fraud.rows import LINE, pieces, row
from fraud.transactions import COLUMNS, ROW, RejectedError, parse, parse_transaction

GOOD = Generator(1).transaction(0)
LEFT_OUT = object()


def line(**changes: Any) -> bytes:
    """A good line with some fields changed or left out."""
    record = {name: value for name, value in {**GOOD, **changes}.items() if value is not LEFT_OUT}
    return json.dumps(record).encode()


def parsed(**changes: Any) -> dict[str, Any]:
    """A good line with some fields changed, as its row."""
    return dict(zip(ROW, parse(line(**changes)), strict=True))


def carefully(text: bytes) -> bytes:
    """The row of a line by the careful way alone, escaped as PostgreSQL's manual says."""
    escapes = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
    values = ("\\N" if value is None else "".join(escapes.get(x, x) for x in value) for value in parse(text))
    return "\t".join(values).encode()


def outcome(way: Any, text: bytes) -> Any:
    """The row that a line becomes, or the reason why it becomes none."""
    try:
        return way(text)
    except RejectedError as error:
        return str(error)


def test_a_generated_line_is_a_row() -> None:
    """What the simulator makes passes, and keeps its values."""
    found = parsed()
    assert found["trans_num"] == GOOD["trans_num"]
    assert found["trans_date_trans_time"] == GOOD["trans_date_trans_time"]
    assert float(found["lat"]) == GOOD["lat"]
    assert found["is_fraud"] in {"t", "f"}
    assert (found["score"], found["model_version"]) == (None, None)


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
        ("dob", "2199-12-31", "after the transaction"),
        ("dob", "0001-01-01", "dob: the year 0001 is not one of 1900 to 2199"),
        ("trans_date_trans_time", "0001-01-01 00:00:00", "trans_date_trans_time: the year 0001 is not one"),
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


@pytest.mark.parametrize(
    ("score", "version", "expected"),
    [
        (0.25, 3, ("0.25", "3")),
        (0, 1, ("0.0", "1")),
        ("1.0", "2.0", ("1.0", "2")),
        (3.1e-7, 2**31 - 1, ("3.1e-07", "2147483647")),
        (0.1 + 0.2, 7, ("0.30000000000000004", "7")),
        (None, None, (None, None)),
        (LEFT_OUT, None, (None, None)),
    ],
)
def test_a_model_may_have_made_the_prediction(score: Any, version: Any, expected: tuple[Any, Any]) -> None:
    """Then the line has its score and its version too; a line of before has neither."""
    found = parsed(score=score, model_version=version)
    assert (found["score"], found["model_version"]) == expected


@pytest.mark.parametrize(
    ("score", "version", "reason"),
    [
        (0.5, LEFT_OUT, "missing model_version: a line has score and model_version, or neither"),
        (LEFT_OUT, 3, "missing score: a line has"),
        (None, 3, "missing score: a line has"),
        (1.0000001, 3, "score: '1.0000001' is not between 0 and 1"),
        (-0.1, 3, "score: '-0.1' is not between 0 and 1"),
        ("high", 3, "score: 'high' is not a number"),
        (0.5, 0, "model_version: '0' is out of range"),
        (0.5, 1.5, "model_version: '1.5' is not a whole number"),
        (0.5, 2**31, "model_version: '2147483648' is out of range"),
    ],
)
def test_half_a_score_or_a_wrong_one_rejects_the_line(score: Any, version: Any, reason: str) -> None:
    """A score is between 0 and 1, a version counts from 1, and one without the other says nothing."""
    with pytest.raises(RejectedError, match=f"^{reason}"):
        parse(line(score=score, model_version=version))


def test_a_transaction_alone_has_no_prediction() -> None:
    """What asks for a prediction has the columns, read by the same rules, and nothing else."""
    bare = line(is_fraud=LEFT_OUT, cc_num="630423337322.0")
    assert parse_transaction(bare) == parse(line(cc_num=630423337322))[: len(COLUMNS)]
    for wrong, reason in ((line(), "unknown 'is_fraud'"), (line(is_fraud=LEFT_OUT, amt="x"), "amt: 'x' is not")):
        with pytest.raises(RejectedError, match=reason):
            parse_transaction(wrong)


def mutants(count: int, seed: int) -> list[bytes]:
    """Good lines of every kind, each changed at a few places at random."""
    drawn, generator = random.Random(seed), Generator(3)
    records = [generator.transaction(number) for number in range(50)]
    records += [
        {**each, "score": drawn.random() ** 9, "model_version": 1 + number} for number, each in enumerate(records)
    ]
    good = [json.dumps(each).encode() + end for each in records for end in (b"", b"\n", b"\r\n")]
    good += [json.dumps(each, separators=(",", ":")).encode() for each in records]
    inserted = [
        *rb'0 9 . - e-5 " \ \n \t \u00e9 null true , } 00 1 31 29 02 2999 : [] "" 1e400'.split(),
        *("é".encode(), b"\xc2\xa0", b"\xff", b"\x00", b"\t", b"\r", b" ", b"  ", b"\x0b"),
    ]
    found = []
    for _ in range(count):
        text = bytearray(drawn.choice(good))
        for _ in range(drawn.choice((0, 1, 1, 1, 2, 3))):
            at = drawn.randrange(len(text))
            match drawn.randrange(4):
                case 0:
                    text[at : at + 1] = drawn.choice(inserted)
                case 1:
                    text[at:at] = drawn.choice(inserted)
                case 2:
                    del text[at : at + drawn.randrange(1, 4)]
                case _:
                    other = drawn.randrange(len(text))
                    text[at : at + 3] = text[other : other + 3]
        found.append(bytes(text))
    return found


@pytest.mark.parametrize("count", [6_000, pytest.param(300_000, marks=pytest.mark.full)])
def test_the_quick_way_and_the_careful_way_are_the_same(count: int) -> None:
    """Whatever a line is, both give the same row or the same reason; and the quick way is taken where it can be."""
    quick = 0
    for text in mutants(count, seed=count):
        assert outcome(row, text) == outcome(carefully, text), text
        quick += LINE(text) is not None
    assert count / 8 < quick < count


def test_lines_become_pieces_of_a_copy() -> None:
    """A few hundred rows at once, in their order; blank lines count and are nothing."""
    rejected: list[tuple[int, bytes, str]] = []
    lines = [line(), b"\n", b"{}\n", *[line(trans_num=f"n{number}") for number in range(600)]]
    found = list(pieces(lines, lambda *each: rejected.append(each)))
    assert [count for count, _ in found] == [128, 128, 128, 128, 89]
    rows = b"".join(piece for _, piece in found).splitlines()
    numbers = [each.split(b"\t")[ROW.index("trans_num")].decode() for each in rows]
    assert numbers == [GOOD["trans_num"], *(f"n{number}" for number in range(600))]
    assert [(number, text) for number, text, _ in rejected] == [(3, b"{}\n")]


def test_our_own_lines_take_the_quick_way() -> None:
    """The simulator's lines, and those that a model has scored; but for who was born on 29 February."""
    generator, quick = Generator(5), 0
    for number in range(1_000):
        record = generator.transaction(number)
        scored = {**record, "score": 1 / (2 + number), "model_version": 1 + number}
        both = json.dumps(record).encode() + b"\n", json.dumps(scored, separators=(",", ":")).encode()
        assert all(map(LINE, both)) is not record["dob"].endswith("-02-29")
        quick += all(map(LINE, both))
    assert quick > 980
