"""A transaction: its columns, and how one line of a batch becomes one row, or is rejected with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fraud.dates import DateError, birth_date, transaction_time
from fraud.fields import (
    BIGINT_MAX,
    INTEGER_MAX,
    FieldError,
    Number,
    amount,
    boolean,
    fraction,
    text,
    trans_num,
    whole,
    zip_code,
)

__all__ = [
    "COLUMNS",
    "COLUMN_TYPES",
    "FIELDS",
    "ROW",
    "SCORE_TYPES",
    "TABLE",
    "RejectedError",
    "parse",
    "parse_transaction",
]

TABLE = "fraud_detection_2_table"

# The date and time is the wall clock of an unnamed place: a time stamp with a time zone would claim more than
# the source says, and each session would print it differently. A card number is a number so that its
# spellings in the sources (2.29e+15, 2290000000000000.0) become one; a zip code is text: 07208 is not 7208.
COLUMN_TYPES = {
    "trans_date_trans_time": "timestamp NOT NULL",
    "cc_num": "bigint NOT NULL",
    "merchant": "text NOT NULL",
    "category": "text NOT NULL",
    "amt": "numeric(12,2) NOT NULL",
    "first": "text NOT NULL",
    "last": "text NOT NULL",
    "gender": "text NOT NULL",
    "street": "text NOT NULL",
    "city": "text NOT NULL",
    "state": "text NOT NULL",
    "zip": "text NOT NULL",
    "lat": "double precision NOT NULL",
    "long": "double precision NOT NULL",
    "city_pop": "integer NOT NULL",
    "job": "text NOT NULL",
    "dob": "date NOT NULL",
    "trans_num": "text NOT NULL UNIQUE",
    "unix_time": "bigint NOT NULL",
    "merch_lat": "double precision NOT NULL",
    "merch_long": "double precision NOT NULL",
}
COLUMNS = tuple(COLUMN_TYPES)
# What a line of a batch holds: the columns, and the prediction.
FIELDS = (*COLUMNS, "is_fraud")
# What it holds too where a model made the prediction: both, or neither.
SCORE_TYPES = {"score": "double precision", "model_version": "integer"}
ROW = (*FIELDS, *SCORE_TYPES)

# From the year 1900 to 9999, so that date arithmetic never overflows.
UNIX_TIME_RANGE = (-2_208_988_800, 253_370_764_800)
Converters = dict[str, Callable[[Any], str]]


class RejectedError(ValueError):
    """A line that is no transaction, with the reason."""


def _no_constant(name: str) -> str:
    raise RejectedError(f"{name} is not a number")


# Numbers stay text: no digit is lost on the way, and the text of a CSV passes through the same checks.
_decode = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=_no_constant).decode


def parse(line: bytes) -> tuple[str | None, ...]:
    """One line of a batch as the values of ``ROW``, in PostgreSQL's spelling.

    Raises:
        RejectedError: It is no transaction with a prediction.
    """
    record = _record(line, FIELDS, ROW)
    values = _values(record, CONVERTERS)
    if len(record) == len(FIELDS):
        return (*values, None, None)
    given = [name for name in SCORE_CONVERTERS if record.get(name) is not None]
    if len(given) == 1:
        (missing,) = SCORE_CONVERTERS.keys() - set(given)
        raise RejectedError(f"missing {missing}: a line has score and model_version, or neither")
    return (*values, *(_convert(record, SCORE_CONVERTERS) if given else (None, None)))


def parse_transaction(line: bytes) -> tuple[str, ...]:
    """A transaction of which nothing is predicted yet, as the values of ``COLUMNS``.

    Raises:
        RejectedError: It is none.
    """
    return tuple(_values(_record(line, COLUMNS, COLUMNS), {name: CONVERTERS[name] for name in COLUMNS}))


def _record(line: bytes, needed: tuple[str, ...], known: tuple[str, ...]) -> dict[str, Any]:
    """The line as an object that has the needed fields, and others only of the known ones."""
    try:
        record = _decode(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise RejectedError("not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise RejectedError(f"broken JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise RejectedError("broken JSON: nested too deeply") from None
    if not isinstance(record, dict):
        raise RejectedError("not a JSON object")
    missing = [name for name in needed if name not in record]
    extra = [repr(name[:40]) for name in record if name not in known]
    if missing or extra:
        reasons = (["missing " + ", ".join(missing)] if missing else []) + (
            ["unknown " + ", ".join(extra)] if extra else []
        )
        raise RejectedError("; ".join(reasons))
    return record


def _values(record: dict[str, Any], converters: Converters) -> list[str]:
    """The fields in PostgreSQL's spelling, with dates that have one reading and follow each other."""
    values = _convert(record, converters)
    name = "trans_date_trans_time"
    try:
        moment, order = transaction_time(text(record[name]), int(values[UNIX_TIME_INDEX]))
        name = "dob"
        born = birth_date(text(record[name]), order)
    except DateError as error:
        raise RejectedError(f"{name}: {error}") from None
    if born > moment.date():
        raise RejectedError(f"dob: born on {born}, after the transaction of {moment.date()}")
    values[DATE_INDEX] = moment.isoformat(" ")
    values[DOB_INDEX] = born.isoformat()
    return values


def _convert(record: dict[str, Any], converters: Converters) -> list[str]:
    values: list[str] = []
    name = ""
    try:
        for name, convert in converters.items():
            values.append(convert(record[name]))
    except FieldError as error:
        raise RejectedError(f"{name}: {error}") from None
    return values


CONVERTERS: Converters = {
    **dict.fromkeys(FIELDS, text),
    "cc_num": lambda value: whole(value, 1, BIGINT_MAX),
    "amt": amount,
    "zip": zip_code,
    "lat": lambda value: fraction(value, -90, 90),
    "long": lambda value: fraction(value, -180, 180),
    "city_pop": lambda value: whole(value, 0, INTEGER_MAX),
    "trans_num": trans_num,
    "unix_time": lambda value: whole(value, *UNIX_TIME_RANGE),
    "merch_lat": lambda value: fraction(value, -90, 90),
    # A merchant across the date line from its customer: Sparkov adds up to a degree without wrapping.
    "merch_long": lambda value: fraction(value, -181, 181),
    "is_fraud": boolean,
}
SCORE_CONVERTERS: Converters = {
    "score": lambda value: fraction(value, 0, 1),
    "model_version": lambda value: whole(value, 1, INTEGER_MAX),
}
DATE_INDEX = FIELDS.index("trans_date_trans_time")
DOB_INDEX = FIELDS.index("dob")
UNIX_TIME_INDEX = FIELDS.index("unix_time")
