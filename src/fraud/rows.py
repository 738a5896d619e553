"""The lines of a batch as rows of a COPY, quickly where a line is written as our own programs write it.

Such a line (each field in its place, plain characters, a number in its shortest spelling, a date with the year first)
is recognised by one regular expression, and what that captures is the row. Every other line takes the careful way,
``fraud.transactions.parse``. Both give the same row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from fraud.transactions import FIELDS, ROW, RejectedError, parse

__all__ = ["pieces", "row"]

# Rows are handed on by the hundred: few enough that PostgreSQL is at work while the next ones are read.
ROWS_AT_ONCE = 128
NULL = b"\\N"
ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})

# Printable ASCII without the quote and the backslash: it needs no escape in JSON, and none in COPY.
CHARACTER = r"[!#-\[\]-~]"
# Without `)*+`, which Python before 3.11.5 gets wrong: spaces at the end would be taken.
TEXT = rf'"({CHARACTER}++(?: ++{CHARACTER}++)*)"'
# But for 29 February, which takes more thought.
DAY = (
    r"(?:19|20)[0-9]{2}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
    r"|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
)
CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
# What a float of Python prints as well: at most 15 digits, no zero at the end, not so small that it has an exponent.
TAIL = r"\.(?:[0-9]|(?!0000)[0-9]{1,11}[1-9])"
DEGREES = rf"(-?[1-8]?[0-9]{TAIL})"
USUAL = {
    **dict.fromkeys(FIELDS, TEXT),
    "trans_date_trans_time": f'"({DAY} {CLOCK})"',
    "cc_num": "([1-9][0-9]{0,17})",
    "amt": r"((?:0|[1-9][0-9]{0,9})(?:\.[0-9]{1,2})?)",
    "zip": '"([0-9]{5}(?:-[0-9]{4})?)"',
    "lat": DEGREES,
    "long": rf"(-?(?:1[0-7][0-9]|[1-9]?[0-9]){TAIL})",
    "city_pop": "(0|[1-9][0-9]{0,8})",
    "dob": f'"({DAY})"',
    "trans_num": f'"({CHARACTER}{{1,200}})"',
    "unix_time": "([1-9][0-9]{0,10})",
    "merch_lat": DEGREES,
    "merch_long": rf"(-?(?:1[0-7][0-9]|[1-9]?[0-9]){TAIL})",
    "is_fraud": "([tf])(?:(?<=t)rue|(?<=f)alse)",
}
SCORED = {"score": r"([0-9](?:\.[0-9]{1,25})?(?:e-[0-9]{1,2})?)", "model_version": "([1-9][0-9]{0,8})"}


def _fields(patterns: dict[str, str]) -> str:
    return ", ?".join(f'"{name}": ?{pattern}' for name, pattern in patterns.items())


LINE = re.compile(rf"\{{{_fields(USUAL)}(?:, ?{_fields(SCORED)})?\}}\r?\n?".encode("ascii")).fullmatch
MOMENT, BORN, SCORE = (ROW.index(name) for name in ("trans_date_trans_time", "dob", "score"))


def pieces(lines: Iterable[bytes], reject: Callable[[int, bytes, str], None]) -> Iterator[tuple[int, bytes]]:
    """The rows of a COPY, a few hundred at once: how many, and their bytes.

    Args:
        lines: A batch. Blank lines count, and are no rows.
        reject: Called for each line that is no transaction, with its number, its bytes and the reason.
    """
    found: list[bytes] = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(row(line) + b"\n")
        except RejectedError as error:
            if not line.isspace():
                reject(number, line, str(error))
            continue
        if len(found) == ROWS_AT_ONCE:
            yield len(found), b"".join(found)
            found.clear()
    if found:
        yield len(found), b"".join(found)


def row(line: bytes) -> bytes:
    """A line as the values of ``ROW`` in COPY's own format, without the end of the line.

    Raises:
        RejectedError: It is no transaction.
    """
    if (usual := LINE(line)) and (values := _usual(usual)):
        return values
    return b"\t".join(NULL if value is None else value.translate(ESCAPES).encode() for value in parse(line))


def _usual(line: re.Match[bytes]) -> bytes | None:
    """The row that a line of the usual shape is; None where a look at two fields together, or at the score, is due."""
    values = line.groups(NULL)
    if values[BORN] > values[MOMENT]:
        return None
    if values[SCORE] is NULL:
        return b"\t".join(values)
    score = float(values[SCORE])
    return b"\t".join((*values[:SCORE], repr(score).encode(), *values[SCORE + 1 :])) if score <= 1 else None
