"""From the structure of a project to the outline of its DAG: which tasks there are, in which order, and why."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gigogne.airflow.labels import PREFIX, task_options
from gigogne.airflow.outline import JobTask, Outline, Stage
from gigogne.compose.selection import Selection
from gigogne.compose.structure import Structure
from gigogne.core.graph import KIND_LABEL, kinds, unknown_service
from gigogne.core.model import Condition, Dependency, Kind, Service
from gigogne.errors import ComposeError

__all__ = ["outline"]

_RESTARTS = re.compile(r"on-failure:(\d+)")

log = logging.getLogger(__name__)


def outline(structure: Structure, chosen: Selection, exclude: Sequence[str] = ()) -> Outline:
    """The outline of a project as a DAG.

    Args:
        structure: The project as its files have it.
        chosen: The jobs that are asked for.
        exclude: Services that are left out; what waits for one of them does so no more.

    Raises:
        ComposeError: There is no such service, a label is wrong, a job waits for what Airflow cannot wait for, or
            nothing is left to run.
    """
    graph = _chosen(structure, chosen, exclude)
    stages = _stages(graph)
    jobs = _jobs(graph, stages)
    if not jobs:
        raise ComposeError("nothing is left to run: exclude names every job", "name fewer services in exclude")
    return Outline(
        graph.targets, structure.profiles, jobs, stages, _free("stop_servers", graph.services), chosen.options.files
    )


@dataclass(frozen=True, slots=True)
class _Graph:
    """The services that are left after the choice, in the order of their start, each with what must come before it."""

    structure: Structure
    targets: tuple[str, ...]
    services: Mapping[str, Service]
    kinds: Mapping[str, Kind]
    needs: Mapping[str, tuple[str, ...]]
    excluded: frozenset[str]

    def before(self, name: str, kind: Kind) -> tuple[str, ...]:
        """The services of a kind that a service waits for, itself or through servers that it needs."""
        found: dict[str, None] = {}
        queue = list(self.needs[name])
        while queue:
            other = queue.pop(0)
            if other not in found:
                found[other] = None
                queue += self.needs[other] if self.kinds[other] is Kind.SERVER else ()
        return tuple(other for other in found if self.kinds[other] is kind)

    def says(self, name: str) -> dict[str, str]:
        """What a service waits for by its Compose file: the other one → the place of the line, and what it says."""
        return {
            dependency.service: self._says(name, dependency)
            for dependency in self.services[name].depends_on
            if dependency.service in self.structure.project.services
        }

    def _says(self, name: str, dependency: Dependency) -> str:
        place, other = self.structure.place(name, "depends_on", dependency.service), dependency.service
        directory = self.structure.project.directory
        file = place.file.relative_to(directory) if place.file.is_relative_to(directory) else place.file
        said = f"{file}:{place.line}: services.{name}.depends_on.{other} ({dependency.condition})"
        if other in self.excluded:
            return f"{said}; {other} is excluded: this is not waited for"
        return said if other in self.needs[name] else f"{said}; no edge: in Airflow a start is not waited for"


def _chosen(structure: Structure, chosen: Selection, exclude: Sequence[str]) -> _Graph:
    project = structure.project
    for name in exclude:
        if name not in project.services:
            raise unknown_service(name, project.services)
    plan = chosen.plan(project)
    services = {name: project.services[name] for name in plan.services if name not in exclude}
    kind = kinds(project)
    needs = {
        name: tuple(
            d.service for d in service.depends_on if d.service in services and _is_edge(structure, name, d, kind)
        )
        for name, service in services.items()
    }
    targets = tuple(name for name in plan.targets if name not in exclude)
    graph = _Graph(structure, targets, services, kind, needs, frozenset(exclude))
    for name in services:
        for other, said in graph.says(name).items():
            if other in graph.excluded:
                log.warning("%s waits for %s no more: %s", name, other, said)
    return graph


def _is_edge(structure: Structure, name: str, dependency: Dependency, kind: Mapping[str, Kind]) -> bool:
    """Whether Airflow is to wait for it: for what completes, and for servers."""
    other = dependency.service
    if kind[other] is Kind.JOB and dependency.condition is Condition.HEALTHY:
        place = structure.place(name, "depends_on", other)
        raise ComposeError(
            f"{place}: {name} waits for {other} to be healthy, which is a job: Airflow waits only for its end",
            f"write condition: {Condition.COMPLETED}, or take the label {KIND_LABEL}: job from {other}",
        )
    return kind[other] is Kind.SERVER or dependency.condition is Condition.COMPLETED


def _stages(graph: _Graph) -> tuple[Stage, ...]:
    """The servers that jobs need: a server that waits for a job is one stage above what the job needs."""
    levels: dict[str, int] = {}
    for name in graph.services:
        is_server = graph.kinds[name] is Kind.SERVER
        steps = (levels[other] + (is_server and graph.kinds[other] is Kind.JOB) for other in graph.needs[name])
        levels[name] = max(steps, default=0)
    jobs = (name for name in graph.services if graph.kinds[name] is Kind.JOB)
    needed = {server for job in jobs for server in graph.before(job, Kind.SERVER)}
    for server in sorted(needed):  # nothing of it counts for a server, but it may be wrong
        _options(graph.structure, server, follows_servers=False)
    stages: list[Stage] = []
    for level in sorted({levels[server] for server in needed}):
        servers = tuple(name for name in graph.services if name in needed and levels[name] == level)
        after = {job: None for server in servers for job in graph.before(server, Kind.JOB) if levels[job] < level}
        says = {other: said for server in servers for other, said in graph.says(server).items() if other not in servers}
        task = "start_servers" if not stages else f"start_servers_{len(stages) + 1}"
        stages.append(Stage(_free(task, graph.services), servers, tuple(after), says))
    return tuple(stages)


def _jobs(graph: _Graph, stages: Sequence[Stage]) -> tuple[JobTask, ...]:
    documentation = graph.structure.documentation()
    number = {server: index for index, stage in enumerate(stages) for server in stage.servers}
    up: dict[str, int] = {}  # the last stage that is up when the job runs
    tasks: list[JobTask] = []
    for name in (name for name in graph.services if graph.kinds[name] is Kind.JOB):
        servers = graph.before(name, Kind.SERVER)
        after = tuple(other for other in graph.needs[name] if graph.kinds[other] is Kind.JOB)
        needed, there = max((number[s] for s in servers), default=-1), max((up[other] for other in after), default=-1)
        up[name] = max(needed, there)
        task = JobTask(
            name,
            after,
            servers,
            stage=needed if needed > there else None,
            depends_on=graph.says(name),
            restarts=_restarts(graph.services[name]),
            options=_options(graph.structure, name, follows_servers=needed > there),
            documentation=documentation[name],
        )
        tasks.append(task)
    return tuple(replace(task, closes=bool(task.servers) and not _is_outlived(task, tasks)) for task in tasks)


def _is_outlived(task: JobTask, tasks: Iterable[JobTask]) -> bool:
    """Whether another task that needs servers is surely done later.

    One that waits for several tasks is not: Airflow counts it as done as soon as one of them has failed.
    """
    return any(
        other.after == (task.service,) and other.servers and other.stage is None and "trigger_rule" not in other.options
        for other in tasks
    )


def _options(structure: Structure, name: str, *, follows_servers: bool) -> dict[str, Any]:
    label = f"{PREFIX}trigger_rule"
    options = task_options(structure.project.services[name].labels, lambda key: structure.place(name, "labels", key))
    if follows_servers and options.get("trigger_rule", "all_success") != "all_success":
        raise ComposeError(
            f"{structure.place(name, 'labels', label)}: the label {label} is {options['trigger_rule']}, and {name} "
            "follows a task that starts servers: for Airflow, that must be all_success",
            f"remove the label, or the servers from the depends_on of {name}",
        )
    return options


def _restarts(service: Service) -> int:
    match = _RESTARTS.fullmatch(service.restart)
    return int(match[1]) if match else 0


def _free(task: str, services: Iterable[str]) -> str:
    """The name of a task, another one where a service has it."""
    return _free(f"gigogne_{task}", services) if task in services else task
