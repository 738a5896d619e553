"""Every problem of a project, for one engine or for several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gigogne.cli.console import Printer
from gigogne.compose import LoadOptions, load_project
from gigogne.compose.selection import Selection, pipeline_names, select
from gigogne.core.engine import Engine
from gigogne.core.lint import lint
from gigogne.core.model import Problem, Project
from gigogne.core.plan import Plan
from gigogne.errors import GigogneError

if TYPE_CHECKING:
    from gigogne.compose.locate import Places

__all__ = ["Part", "check", "pipelines_of", "unique"]


@dataclass(frozen=True, slots=True)
class Part:
    """What is looked at.

    Attributes:
        project: A project.
        services: The services of it that count.
        publish: Whether they are kept up, as by `gigogne up`: a port that cannot be published is a problem then.
    """

    project: Project
    services: Sequence[str]
    publish: bool = True

    @classmethod
    def of(cls, project: Project, plan: Plan) -> Part:
        """What a plan starts, held to what its execution asks for."""
        return cls(project, plan.services, plan.stays)

    def problems(self, engine: Engine) -> Iterator[Problem]:
        """What is wrong with it, or done differently, on an engine."""
        yield from lint(self.project, self.services)
        yield from engine.check(self.project, self.services, publish=self.publish)


def pipelines_of(project: Project, options: LoadOptions) -> Iterator[Part | GigogneError]:
    """Each pipeline of a loaded project, merged into it, then what `x-gigogne.run` lists; an error where one is wrong.

    Args:
        project: The project without them.
        options: The options that it was loaded with.
    """
    try:
        names = pipeline_names(options)
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
    return Part.of(loaded, chosen.plan(loaded))


def check(parts: Sequence[Part | GigogneError], engines: Sequence[Engine], printer: Printer) -> int:
    """Print every problem and notice of these, on each engine; 1 where there is a problem, else 0."""
    from gigogne.compose.locate import Places

    found = [part for part in parts if not isinstance(part, GigogneError)]
    wrong = {str(error): error for error in parts if isinstance(error, GigogneError)}
    for error in wrong.values():
        printer.error(error)
    places = Places(tuple(dict.fromkeys(file for part in found for file in part.project.files)))
    failed = bool(wrong)
    for engine in engines:
        problems = unique([problem for part in found for problem in part.problems(engine)])
        for problem in problems:
            _show(problem, engine, places, printer)
        number = len(wrong) + sum(problem.fatal for problem in problems)
        if not printer.as_json:
            verdict = f"{number} problem{'s' if number != 1 else ''}" if number else "no problems"
            printer.text(f"{found[0].project.name} on {engine}: {verdict}", "bold")
        failed |= number > 0
    return 1 if failed else 0


def _show(problem: Problem, engine: Engine, places: Places, printer: Printer) -> None:
    if printer.as_json:
        place = places.find(problem.where)
        at = {"file": str(place.file) if place else "", "line": place.line if place else None}
        printer.json({**asdict(problem), **at, "engine": str(engine)})
    else:
        text = f"{'problem' if problem.fatal else 'note'}: {places.located(problem, Path.cwd())}"
        printer.text(text, "red" if problem.fatal else "")


def unique(problems: Sequence[Problem]) -> list[Problem]:
    """Each problem once, those that are fatal first; what one line of a Dockerfile says, once for all services."""
    found: dict[object, Problem] = {}
    for problem in sorted(problems, key=lambda problem: not problem.fatal):
        of_file = problem.where and not problem.where.startswith("services.")
        same = (problem.where, problem.message) if of_file else replace(problem, fatal=False)
        found.setdefault(same, problem)
    return list(found.values())
