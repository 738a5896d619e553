"""Every problem of a project, for one engine or for several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from gigogne.cli.console import Printer
from gigogne.compose import LoadOptions, load_project
from gigogne.compose.selection import Selection, select
from gigogne.core.engine import Engine
from gigogne.core.lint import lint
from gigogne.core.model import Problem, Project
from gigogne.errors import GigogneError

if TYPE_CHECKING:
    from gigogne.compose.locate import Places

__all__ = ["Part", "check", "pipelines_of", "unique"]

# A project, and the services of it that are looked at.
Part: TypeAlias = tuple[Project, Sequence[str]]


def pipelines_of(project: Project, options: LoadOptions) -> Iterator[Part | GigogneError]:
    """Each pipeline of a loaded project, merged into it, then what `x-gigogne.run` lists; an error where one is wrong.

    Args:
        project: The project without them.
        options: The options that it was loaded with.
    """
    from gigogne.compose.pipelines import project_pipelines

    if not project.extension:
        return
    try:
        names = project_pipelines(options)
    except GigogneError as error:
        yield error
        return
    for pipelines in (*((name,) for name in names), ()):
        try:
            chosen = select(options, pipelines=pipelines)
            if chosen.options != options or not project.services.keys() >= set(chosen.names):
                yield _part(chosen)
        except GigogneError as error:
            yield error


def _part(chosen: Selection) -> Part:
    loaded = load_project(chosen.options, chosen.names, chosen.places)
    return loaded, chosen.plan(loaded).services


def check(parts: Sequence[Part | GigogneError], engines: Sequence[Engine], printer: Printer) -> int:
    """Print every problem and notice of these, on each engine; 1 where there is a problem, else 0."""
    from gigogne.compose.locate import Places

    found = [part for part in parts if not isinstance(part, GigogneError)]
    wrong = {str(error): error for error in parts if isinstance(error, GigogneError)}
    for error in wrong.values():
        printer.error(error)
    places = Places(tuple(dict.fromkeys(file for project, _ in found for file in project.files)))
    fatal = len(wrong)
    for engine in engines:
        problems = unique([p for part in found for p in (*lint(*part), *engine.check(*part))])
        for problem in sorted(problems, key=lambda problem: not problem.fatal):
            _show(problem, engine, places, printer)
        number = sum(problem.fatal for problem in problems)
        if not printer.as_json:
            verdict = f"{number} problem{'s' if number != 1 else ''}" if number else "no problems"
            printer.text(f"{found[0][0].name} on {engine}: {verdict}", "bold")
        fatal += number
    return 1 if fatal else 0


def _show(problem: Problem, engine: Engine, places: Places, printer: Printer) -> None:
    if printer.as_json:
        place = places.find(problem.where)
        at = {"file": str(place.file) if place else "", "line": place.line if place else None}
        printer.json({**asdict(problem), **at, "engine": str(engine)})
    else:
        text = f"{'problem' if problem.fatal else 'note'}: {places.located(problem, Path.cwd())}"
        printer.text(text, "red" if problem.fatal else "")


def unique(problems: Sequence[Problem]) -> list[Problem]:
    """Each problem once; what is about one line of a Dockerfile, once for all services that use it."""
    found: dict[object, Problem] = {}
    for problem in problems:
        of_file = problem.where and not problem.where.startswith("services.")
        found.setdefault((problem.where, problem.message) if of_file else problem, problem)
    return list(found.values())
