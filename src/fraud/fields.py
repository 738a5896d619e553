"""The fields of a record, as one line of a batch or of a CSV has them: each in PostgreSQL's spelling, or a reason."""

from __future__ import annotations

import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any

__all__ = [
    "BIGINT_MAX",
    "INTEGER_MAX",
    "FieldError",
    "Number",
    "amount",
    "boolean",
    "fraction",
    "text",
    "trans_num",
    "whole",
    "zip_code",
]

PLAIN_INTEGER = re.compile(r"[0-9]{1,18}")
NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
AMOUNT = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,2})?")
ZIP = re.compile(r"([0-9]{3,5})(-[0-9]{4})?(?:\.0*)?")
BOOLEANS = {"1": "t", "true": "t", "1.0": "t", "0": "f", "false": "f", "0.0": "f"}
BIGINT_MAX, INTEGER_MAX = 2**63 - 1, 2**31 - 1
# An index entry of PostgreSQL holds 2,700 bytes; a transaction's number is 32 characters.
TRANS_NUM_LONGEST = 200


class Number(str):
    """A number of the JSON text, kept exactly as it was written."""

    __slots__ = ()


class FieldError(ValueError):
    """A field's value that its column cannot hold."""


def text(value: Any) -> str:
    """A text that PostgreSQL can hold, and that is not empty."""
    if type(value) is not str:
        raise FieldError("missing" if value is None else f"{_shown(value)} is not a text")
    stripped: str = value.strip()
    if not stripped:
        raise FieldError("empty")
    if not stripped.isascii():
        try:
            stripped.encode("utf-8")
        except UnicodeEncodeError:
            raise FieldError("not Unicode text") from None
    if "\0" in stripped:
        raise FieldError("contains a NUL character")
    return stripped


def _number_text(value: Any) -> str:
    """The text of a number, whether JSON had it as a number or (from a CSV) as a text."""
    if isinstance(value, Number):
        return value
    if isinstance(value, str):
        value = value.strip()
        if NUMBER.fullmatch(value):
            return str(value)
    raise FieldError("missing" if value is None or value == "" else f"{_shown(value)} is not a number")


def whole(value: Any, least: int, most: int) -> str:
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


def fraction(value: Any, least: float, most: float) -> str:
    """A number with a fraction, within limits: degrees of latitude, say, or a score."""
    number = float(_number_text(value))
    if not (math.isfinite(number) and least <= number <= most):
        raise FieldError(f"{_shown(value)} is not between {least:.0f} and {most:.0f}")
    return repr(number)


def amount(value: Any) -> str:
    """An amount of money, to the cent."""
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


def zip_code(value: Any) -> str:
    """Five digits: sources that kept zip codes as numbers lost the leading zeros of New England."""
    match = ZIP.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        raise FieldError(f"{_shown(value)} is not a zip code")
    return match[1].zfill(5) + (match[2] or "")


def trans_num(value: Any) -> str:
    """A transaction's number: a text that an index can hold."""
    # A number made only of digits may come without its quotes.
    number = text(str(value) if type(value) is Number else value)
    if len(number) > TRANS_NUM_LONGEST:
        raise FieldError(f"longer than {TRANS_NUM_LONGEST} characters")
    return number


def boolean(value: Any) -> str:
    """Yes or no."""
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
