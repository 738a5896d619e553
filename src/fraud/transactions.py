"""A transaction: its columns, and how one line of a batch becomes one row, or is rejected with a reason."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from fraud.dates import DateError, birth_date, transaction_time

__all__ = ["COLUMNS", "COLUMN_TYPES", "FIELDS", "TABLE", "RejectedError", "parse"]

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

PLAIN_INTEGER = re.compile(r"[0-9]{1,18}")
NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
AMOUNT = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,2})?")
ZIP = re.compile(r"([0-9]{3,5})(-[0-9]{4})?(?:\.0*)?")
BOOLEANS = {"1": "t", "true": "t", "1.0": "t", "0": "f", "false": "f", "0.0": "f"}
BIGINT_MAX, INTEGER_MAX = 2**63 - 1, 2**31 - 1
# From the year 1900 to 9999, so that date arithmetic never overflows.
UNIX_TIME_RANGE = (-2_208_988_800, 253_370_764_800)
# An index entry of PostgreSQL holds 2,700 bytes; a transaction's number is 32 characters.
TRANS_NUM_LONGEST = 200
FIELD_SET = frozenset(FIELDS)


class RejectedError(ValueError):
    """A line that is no transaction, with the reason."""


class Number(str):
    """A number of the JSON text, kept exactly as it was written."""

    __slots__ = ()


class FieldError(ValueError):
    """A field's value that its column cannot hold."""


def _no_constant(name: str) -> str:
    raise RejectedError(f"{name} is not a number")


# Numbers stay text: no digit is lost on the way, and the text of a CSV passes through the same checks.
_decode = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=_no_constant).decode


def parse(line: bytes) -> tuple[str, ...]:
    """One line of a batch as the values of ``FIELDS``, in PostgreSQL's spelling."""
    record = _record(line)
    values: list[str] = []
    name = ""
    try:
        for name, convert in CONVERTERS:
            values.append(convert(record[name]))
        name = "trans_date_trans_time"
        moment, order = transaction_time(_text(record[name]), int(values[UNIX_TIME_INDEX]))
        name = "dob"
        born = birth_date(_text(record[name]), order)
    except (DateError, FieldError) as error:
        raise RejectedError(f"{name}: {error}") from None
    if born > moment.date():
        raise RejectedError(f"dob: born on {born}, after the transaction of {moment.date()}")
    values[DATE_INDEX] = moment.isoformat(" ")
    values[DOB_INDEX] = born.isoformat()
    return tuple(values)


def _record(line: bytes) -> dict[str, Any]:
    """The line as an object with exactly the fields of a transaction."""
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
    if record.keys() != FIELD_SET:
        missing = [name for name in FIELDS if name not in record]
        extra = [repr(name[:40]) for name in record if name not in FIELD_SET]
        reasons = (["missing " + ", ".join(missing)] if missing else []) + (
            ["unknown " + ", ".join(extra)] if extra else []
        )
        raise RejectedError("; ".join(reasons))
    return record


def _text(value: Any) -> str:
    """A text that PostgreSQL can hold, and that is not empty."""
    if type(value) is not str:
        raise FieldError("missing" if value is None else f"{_shown(value)} is not a text")
    text: str = value.strip()
    if not text:
        raise FieldError("empty")
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise FieldError("not Unicode text") from None
    if "\0" in text:
        raise FieldError("contains a NUL character")
    return text


def _number_text(value: Any) -> str:
    """The text of a number, whether JSON had it as a number or (from a CSV) as a text."""
    if isinstance(value, Number):
        return value
    if isinstance(value, str):
        value = value.strip()
        if NUMBER.fullmatch(value):
            return str(value)
    raise FieldError("missing" if value is None or value == "" else f"{_shown(value)} is not a number")


def _whole(value: Any, least: int, most: int) -> str:
    """A whole number; ``630423337322.0`` and ``4.9e+18`` are whole, as exports of data frames write them."""
    digits = _number_text(value)
    number = int(digits) if PLAIN_INTEGER.fullmatch(digits) else _integral(digits)
    if not least <= number <= most:
        raise FieldError(f"{_shown(value)} is out of range")
    return str(number)


def _decimal(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except InvalidOperation:
        raise FieldError(f"{_shown(digits)} is out of range") from None


def _integral(digits: str) -> int:
    number = _decimal(digits)
    if number.adjusted() > 30:
        raise FieldError(f"{_shown(digits)} is out of range")
    if number != number.to_integral_value():
        raise FieldError(f"{_shown(digits)} is not a whole number")
    return int(number)


def _coordinate(limit: float) -> Callable[[Any], str]:
    def convert(value: Any) -> str:
        number = float(_number_text(value))
        if not (math.isfinite(number) and -limit <= number <= limit):
            raise FieldError(f"{_shown(value)} is not between -{limit:.0f} and {limit:.0f}")
        return repr(number)

    return convert


def _amount(value: Any) -> str:
    digits = _number_text(value)
    if AMOUNT.fullmatch(digits):
        return digits
    exact = _decimal(digits)
    try:
        cents = exact.quantize(Decimal("0.01"))
    except InvalidOperation:
        raise FieldError(f"{_shown(value)} is out of range") from None
    if cents < 0 or cents.adjusted() > 9:
        raise FieldError(f"{_shown(value)} is out of range")
    if cents != exact:
        raise FieldError(f"{_shown(value)} has fractions of a cent")
    return str(cents)


def _zip(value: Any) -> str:
    """Five digits: sources that kept zip codes as numbers lost the leading zeros of New England."""
    match = ZIP.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        raise FieldError(f"{_shown(value)} is not a zip code")
    return match[1].zfill(5) + (match[2] or "")


def _trans_num(value: Any) -> str:
    # A number made only of digits may come without its quotes.
    text = _text(str(value) if type(value) is Number else value)
    if len(text) > TRANS_NUM_LONGEST:
        raise FieldError(f"longer than {TRANS_NUM_LONGEST} characters")
    return text


def _boolean(value: Any) -> str:
    if type(value) is bool:
        return "t" if value else "f"
    known = BOOLEANS.get(value.strip().lower()) if isinstance(value, str) else None
    if known is None:
        raise FieldError("missing" if value is None else f"{_shown(value)} is neither true nor false")
    return known


def _shown(value: Any) -> str:
    """A value for a message: short, whatever it is."""
    shown = repr(str(value) if isinstance(value, str) else value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _unix_time(value: Any) -> str:
    return _whole(value, *UNIX_TIME_RANGE)


CONVERTERS: tuple[tuple[str, Callable[[Any], str]], ...] = tuple(
    {
        **dict.fromkeys(FIELDS, _text),
        "cc_num": lambda value: _whole(value, 1, BIGINT_MAX),
        "amt": _amount,
        "zip": _zip,
        "lat": _coordinate(90),
        "long": _coordinate(180),
        "city_pop": lambda value: _whole(value, 0, INTEGER_MAX),
        "trans_num": _trans_num,
        "unix_time": _unix_time,
        "merch_lat": _coordinate(90),
        # A merchant across the date line from its customer: Sparkov adds up to a degree without wrapping.
        "merch_long": _coordinate(181),
        "is_fraud": _boolean,
    }.items()
)
DATE_INDEX = FIELDS.index("trans_date_trans_time")
DOB_INDEX = FIELDS.index("dob")
UNIX_TIME_INDEX = FIELDS.index("unix_time")
