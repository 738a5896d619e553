"""Makes the record of the results and its page anew: `python -m tests.conformance.report [BEHAVIOUR…]`.

Without names, all behaviours, in all ways; `--way` picks ways. It needs Docker, and a sandbox.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.conformance import judge
from tests.conformance.behaviour import Behaviour
from tests.conformance.behaviours import THEMES
from tests.conformance.nested import NestedOutside, nested_inside
from tests.conformance.results import Outcome, Record, Verdict, circumstances, judged
from tests.conformance.ways import OnDocker, OnProcess, Way

__all__ = ["PAGE", "WAYS", "page"]

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "compose-support.md"
ON_THIS_MACHINE: tuple[Way, ...] = (OnProcess("sandbox"), OnProcess("portable"), OnDocker())
WAYS = (*(way.name for way in ON_THIS_MACHINE), "nested outside", "nested inside")

_HEAD = """\
<!-- Made by `python -m tests.conformance.report`: change tests/conformance/behaviours/, not this page. -->

# What Gigogne makes of a Compose file

Each line is a small Compose project in `tests/conformance/behaviours/`. Plain `docker compose up` is the judge
({judge}): its exit codes, each job's stdout and stderr, and the files that the project leaves are what
every way must give, too. `{command}` looks again.

- **same**: the same codes, lines and files.
- **told**: something else, and the run says so before anything starts; with the words below.
- **refused**: nothing starts, and the message names the key and what to do.
- **DIFFERENT**: something else without a word. There must be none.

*Sandbox* and *portable* run without Docker, *docker* on this machine's engine; *nested outside* in a container of
`gigogne nest` that uses that engine, *nested inside* in one that has its own (`--daemon inside`).

{counts}
"""


def page(record: Record) -> str:
    """The page that shows the record."""
    who = ", ".join(f"{name} {version}" for name, version in record.judge.items())
    counts = _table(["", *WAYS], _counts(record))
    parts = [_HEAD.format(judge=who, command="pytest tests/conformance", counts=counts)]
    for title, behaviours in THEMES.items():
        rows, notes = _rows(record, behaviours)
        parts.append(f"## {title}\n\n{_table(['Docker Compose', *WAYS], rows)}\n")
        parts += [f"{notes}\n"] if notes else []
    return "\n".join(parts)


def _counts(record: Record) -> Iterator[list[str]]:
    known = {name: record.outcomes.get(name, {}) for name in _names()}
    counted = {way: Counter(each[way].verdict for each in known.values() if way in each) for way in WAYS}
    for verdict in Verdict:
        yield [_word(verdict), *(str(counted[way][verdict]) for way in WAYS)]
    yield ["of", *(str(counted[way].total()) for way in WAYS)]


def _rows(record: Record, behaviours: Sequence[Behaviour]) -> tuple[list[list[str]], str]:
    """The rows of one theme, and the reasons that their numbers stand for."""
    reasons: dict[str, int] = {}
    rows = []
    for behaviour in behaviours:
        cells = []
        for way in WAYS:
            outcome = record.outcomes.get(behaviour.name, {}).get(way)
            if outcome is None:
                cells.append("not run")
            elif outcome.why:
                number = reasons.setdefault(_reason(outcome), len(reasons) + 1)
                cells.append(f"{_word(outcome.verdict)} ({number})")
            else:
                cells.append(_word(outcome.verdict))
        rows.append([behaviour.story, *cells])
    return rows, "\n".join(f"{number}. {reason}" for reason, number in reasons.items())


def _reason(outcome: Outcome) -> str:
    """Why, on one line, as Markdown takes it: no link, no tag."""
    return " ".join(outcome.why.split()).replace("<", "&lt;").replace("[", r"\[")


def _word(verdict: Verdict) -> str:
    return "**DIFFERENT**" if verdict is Verdict.DIFFERENT else str(verdict)


def _table(head: Sequence[str], rows: Iterator[list[str]] | list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in [head, ["---"] * len(head), *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _names() -> list[str]:
    return [behaviour.name for behaviours in THEMES.values() for behaviour in behaviours]


def _looked_at(names: Sequence[str], ways: Sequence[Way]) -> Record:
    """The record, with these behaviours looked at anew in these ways, and without those that are no more."""
    old = Record.read()
    observed, outcomes = {}, {}
    for behaviour in (behaviour for behaviours in THEMES.values() for behaviour in behaviours):
        name = behaviour.name
        if name in names:
            observed[name] = expected = judge.observe(behaviour)
            seen = {way.name: judged(behaviour, way.name, expected, way.observe(behaviour)) for way in ways}
            outcomes[name] = {**old.outcomes.get(name, {}), **seen}
            print(name, *(f"{way}: {outcome.verdict}" for way, outcome in seen.items()), flush=True)
        elif name in old.observed:
            observed[name], outcomes[name] = old.observed[name], dict(old.outcomes[name])
    return Record(judge.facts(), circumstances(), observed, outcomes)


def main() -> None:
    """Look, record, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--way", action="append", choices=WAYS, help="only this way; may be repeated")
    parser.add_argument("behaviour", nargs="*", help="only these behaviours")
    asked = parser.parse_args()
    names = asked.way or WAYS
    ways: list[Way] = [way for way in (*ON_THIS_MACHINE, NestedOutside()) if way.name in names]
    with ExitStack() as stack:
        if "nested inside" in names:
            ways.append(stack.enter_context(nested_inside()))
        made = _looked_at(asked.behaviour or _names(), ways)
    made.write()
    PAGE.write_text(page(made), encoding="utf-8")


if __name__ == "__main__":
    main()
