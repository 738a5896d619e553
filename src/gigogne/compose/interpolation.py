"""The variables that a text with `${…}` refers to, and which of them decide its value.

Compose computes the value; this only tells the user from where it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Reference", "Use", "references", "uses", "with_defaults"]

_START = re.compile(r"\$(?:(?P<escaped>\$)|(?P<plain>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?P<operator>:?[-?+])?)")


@dataclass(frozen=True, slots=True)
class Reference:
    """One `$NAME` or `${NAME}`, with its operator (`:-`, `-`, `:?`, `?`, `:+`, `+` or none) and its operand's own."""

    name: str
    operator: str = ""
    operand: tuple[Reference, ...] = ()

    def walk(self) -> Iterator[Reference]:
        """This reference and those inside its operand."""
        yield self
        for inner in self.operand:
            yield from inner.walk()


@dataclass(frozen=True, slots=True)
class Use:
    """A reference that took part in a value.

    `taken` tells when the text behind the operator was: `default` with `:-` and `-`, `replacement` with `:+` and `+`.
    """

    name: str
    taken: str = ""


def references(text: str) -> tuple[Reference, ...]:
    """The references of a text, in order; `$$` is a dollar and none."""
    found, position = [], 0
    while match := _START.search(text, position):
        position = match.end()
        if match["plain"]:
            found.append(Reference(match["plain"]))
        elif match["name"]:
            end = _closing(text, position)
            inner = references(text[position:end]) if match["operator"] else ()
            found.append(Reference(match["name"], match["operator"] or "", inner))
            position = end + 1
    return tuple(found)


def with_defaults(text: str) -> str:
    """What the text says where no variable is set: `${NAME:-default}` is its default, other references are empty."""
    parts, position = [], 0
    while match := _START.search(text, position):
        parts.append(text[position : match.start()])
        position = match.end()
        if match["escaped"]:
            parts.append("$")
        elif match["name"]:
            end = _closing(text, position)
            parts.append(with_defaults(text[position:end]) if match["operator"] in ("-", ":-") else "")
            position = end + 1
    return "".join((*parts, text[position:]))


def _closing(text: str, position: int) -> int:
    """The index of the brace that closes what is open at `position`."""
    depth = 1
    for index in range(position, len(text)):
        if text.startswith("${", index):
            depth += 1
        elif text[index] == "}":
            depth -= 1
            if depth == 0:
                return index
    return len(text)


def uses(text: str, value_of: Callable[[str], str | None]) -> Iterator[Use]:
    """The references of `text` that decide its value, given the values of the variables (None: not set)."""
    for reference in references(text):
        yield from _uses(reference, value_of)


def _uses(reference: Reference, value_of: Callable[[str], str | None]) -> Iterator[Use]:
    value = value_of(reference.name)
    there = bool(value) if reference.operator.startswith(":") else value is not None
    taken = {("-", False): "default", ("+", True): "replacement"}.get((reference.operator[-1:], there), "")
    yield Use(reference.name, taken)
    if taken:
        for inner in reference.operand:
            yield from _uses(inner, value_of)
