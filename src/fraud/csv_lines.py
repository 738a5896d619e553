"""A CSV of a user's own, line by line: none of our fields holds a line's end, so a stray quote spoils no other line."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from io import BufferedReader, TextIOWrapper

__all__ = ["Line", "lines", "wrong_header"]

SHOWN = 100
DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True, slots=True)
class Line:
    """A line: its number (from 1) and its fields, or why it has none; then its text is the only one."""

    number: int
    fields: list[str]
    broken: str = ""


def lines(file: BufferedReader) -> Iterator[Line]:
    """The lines that are not blank. Bytes that are no UTF-8 survive as lone surrogates, until their line is refused."""
    text = TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")
    for number, line in enumerate(text, start=1):
        try:
            fields = next(csv.reader((line,), strict=True))
        except csv.Error as error:
            yield Line(number, [line.rstrip("\r\n")], f"broken CSV: {error}")
        else:
            if fields:
                yield Line(number, fields)


def wrong_header(first: Line | None, wanted: Collection[str]) -> str:
    """What is wrong with the first line of a file that lacks all or some of the columns, and most likely why."""
    if first is None:
        return "is empty"
    found = ",".join(first.fields)
    shown = repr(found if len(found) <= SHOWN else f"{found[:SHOWN]}…")
    if "\0" in found:
        return "is not UTF-8 but most likely UTF-16: save it as UTF-8"
    if first.broken:
        return f"begins with {shown}: {first.broken}"
    for delimiter, name in DELIMITERS.items():
        if found.count(delimiter) >= len(wanted) - 1:
            return f"has {name} between its columns ({shown}): save it with commas"
    return f"begins with {shown}, not with the line {','.join(wanted)}"
