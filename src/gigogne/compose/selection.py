"""What a command is to run of a project: the services that it names, pipelines, or what `x-gigogne.run` lists."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gigogne.compose.options import LoadOptions, compose_files, settled
from gigogne.core.graph import kinds
from gigogne.core.model import Kind, Project
from gigogne.core.plan import Plan, make_plan
from gigogne.core.suggestion import did_you_mean
from gigogne.errors import ComposeError

if TYPE_CHECKING:
    from gigogne.compose.locate import Location

__all__ = ["Selection", "is_near_miss", "pipeline_names", "select"]

_KEY = "x-gigogne"
_EXTENSION = re.compile(rb"^[\"']?(x-[\w-]+)[\"']?[ \t]*:", re.M)


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
        if pipelines and not files and any(Path(file).name == "-" for file in settled(options).files):
            raise ComposeError(
                f"the pipeline {pipelines[0]}: a project from standard input has no pipelines",
                "write it into a file, and name that with -f: pipelines are looked for in files, and seen from them",
            )
        if (pipelines and files) or any(map(_speaks_of_gigogne, files)):  # without any file, that is what is wrong
            from gigogne.compose.pipelines import selected  # reads YAML, which few commands need

            return selected(options, files, services, pipelines)
    return Selection(options, tuple(services))


def pipeline_names(options: LoadOptions) -> tuple[str, ...]:
    """The names of the project's pipelines.

    Raises:
        ComposeError: `x-gigogne` or a key in it is misspelt, or says of pipelines what is wrong; with file and line.
    """
    if not any(map(_speaks_of_gigogne, compose_files(options))):
        return ()
    from gigogne.compose.pipelines import project_pipelines

    return tuple(project_pipelines(options))


def is_near_miss(key: str) -> bool:
    """Whether a top-level key is most likely a misspelt `x-gigogne`; `x-gigogne-…` is a name of its own."""
    named = key == _KEY or key.startswith(f"{_KEY}-")
    return not named and bool(did_you_mean(key, [_KEY], cutoff=0.85))


def _speaks_of_gigogne(file: Path) -> bool:
    """Whether a file may have the key, or a misspelt one: a look at its text, which is cheaper than to read YAML."""
    try:
        text = file.read_bytes()
    except OSError:
        return False
    return _KEY.encode() in text or any(is_near_miss(key.decode()) for key in _EXTENSION.findall(text))
