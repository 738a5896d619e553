"""What a command is to run of a project: the services that it names, pipelines, or what `x-gigogne.run` lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gigogne.compose.options import LoadOptions, compose_files, mentions
from gigogne.core.graph import kinds
from gigogne.core.model import Kind, Project
from gigogne.core.plan import Plan, make_plan
from gigogne.errors import ComposeError

if TYPE_CHECKING:
    from gigogne.compose.locate import Location

__all__ = ["Selection", "select"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which files a command reads, and what it runs of them.

    Attributes:
        options: The options with the files of the pipelines after the project's own.
        names: The services that are asked for; none where the project's kinds decide.
        places: Where the files list those that nobody has typed.
        perhaps: Those of the names that are run only if they are jobs: all that a pipeline's file speaks of.
    """

    options: LoadOptions
    names: tuple[str, ...] = ()
    places: Mapping[str, Location] = field(default_factory=dict)
    perhaps: frozenset[str] = frozenset()

    def targets(self, project: Project) -> tuple[str, ...]:
        """What is run of the project, once it is loaded; none means all that a bare `gigogne run` runs.

        Raises:
            ComposeError: A pipeline lists nothing, and its files speak of no job.
        """
        if not self.perhaps:
            return self.names
        kind = kinds(project)
        found = tuple(name for name in self.names if name not in self.perhaps or kind[name] is Kind.JOB)
        if not found:
            name, place = next(iter(self.places.items()))
            raise ComposeError(
                f"{place.file}: a pipeline that runs nothing: {name} is a server",
                "list its jobs there, at the top level: x-gigogne: {run: [JOB]}",
            )
        return found

    def plan(self, project: Project, *, stop: bool = True) -> Plan:
        """The plan that runs it; see `make_plan`.

        Raises:
            ComposeError: There is nothing to run, a service is unknown, or one that is to end is a server.
        """
        targets = self.targets(project)
        try:
            return make_plan(project, targets, stop=stop)
        except ComposeError as error:
            kind = kinds(project)
            servers = (self.places[name] for name in targets if name in self.places and kind[name] is Kind.SERVER)
            place = next(servers, None)
            if place is None:
                raise
            raise ComposeError(f"{place}: x-gigogne.run: {error.message}", error.hint) from None


def select(
    options: LoadOptions, services: Sequence[str] = (), pipelines: Sequence[str] = (), *, listed: bool = True
) -> Selection:
    """What is meant by services and pipelines; by neither, with `listed`, what `x-gigogne.run` lists.

    Raises:
        ComposeError: There is no such pipeline, or what `x-gigogne` says of it is wrong; with file and line.
    """
    if pipelines or (listed and not services):
        files = compose_files(options)
        named = pipelines and (files or options.files)  # without any file, that is what is wrong
        if named or any(mentions(file, b"x-gigogne") for file in files):
            from gigogne.compose.pipelines import selected  # reads YAML, which few commands need

            return selected(options, files, services, pipelines)
    return Selection(options, tuple(services))
