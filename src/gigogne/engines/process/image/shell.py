"""The shell that a RUN would have had, and the words of the commands in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gigogne.engines.process.image.draft import Draft, Notes

__all__ = ["Command", "Obey", "Refused", "Shell", "Support", "by_name", "operands", "option_values"]


@dataclass(slots=True)
class Shell:
    """The shell of one RUN; `program` is the command being read, as it is written."""

    draft: Draft
    notes: Notes
    line: int
    variables: dict[str, str]
    program: str = ""


class Refused(Exception):  # noqa: N818 - a signal inside the reader, which turns it into a problem
    """A command that cannot be honoured: what of it, and what to do."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


class Support(StrEnum):
    """What becomes of an instruction or a command."""

    HONOURED = "honoured"
    NOTED = "noted"
    REFUSED = "refused"


Obey = Callable[[Shell, Sequence[str], Mapping[str, str]], None]
"""Reads a command into the shell's draft, from its words and the variables that it sees."""


@dataclass(frozen=True, slots=True)
class Command:
    """A row of a table of commands: under one or more `names`, what becomes of it.

    `meaning` says in a line what is done in its place; for a refused one it is the fix. `obey` does it; None for
    what changes nothing here.
    """

    names: str
    support: Support
    meaning: str
    obey: Obey | None = None

    def read(self, shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
        """Add to the draft what the command means.

        Raises:
            Refused: It cannot be honoured.
        """
        if self.support is Support.REFUSED:
            raise Refused("", self.meaning)
        if self.obey is not None:
            self.obey(shell, words, variables)
        elif self.support is Support.NOTED:
            shell.notes.remark(shell.line, f"RUN {shell.program} is skipped: {self.meaning}")


def by_name(*tables: Sequence[Command]) -> dict[str, Command]:
    """The rows of the tables, under each of their names."""
    return {name: row for table in tables for row in table for name in row.names.split()}


def option_values(words: Sequence[str], valued: frozenset[str]) -> dict[str, str]:
    """The options of `words` that have a value: `-u 1000`, `-mu 1000`, `--uid=1000`."""
    found: dict[str, str] = {}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if word.startswith("--") and equals and name in valued:
            found[name] = value
        elif key := _valued(word, valued):
            found[key] = following
    return found


def operands(words: Sequence[str], valued: Sequence[str] | frozenset[str] = ()) -> list[str]:
    """The words that are neither options nor their values."""
    found, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = bool(_valued(word, valued))
        else:
            found.append(word)
    return found


def _valued(word: str, valued: Sequence[str] | frozenset[str]) -> str:
    """The option in `word` whose value is the next word: the last letter of `-rmu` stands for `-u`."""
    if word in valued:
        return word
    grouped = re.fullmatch(r"-[A-Za-z]+", word) and f"-{word[-1]}" in valued
    return f"-{word[-1]}" if grouped else ""
