"""The plan: what will be done, in which order, and why. Data that prints itself, without any side effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from gigogne.core.graph import kinds, reachable, start_order, why_server
from gigogne.core.model import Condition, Dependency, Kind, Project
from gigogne.errors import ComposeError

__all__ = ["Action", "Plan", "Step", "default_servers", "default_targets", "make_plan"]

_WAITS = {
    Condition.STARTED: "to have started",
    Condition.HEALTHY: "to be healthy",
    Condition.COMPLETED: "to complete",
}


class Action(StrEnum):
    """What a step does with its service."""

    START = "start"  # a server: start it and, where someone waits for its health, wait
    RUN = "run"  # a job: run it to its end
    STOP = "stop"  # a server, when no job needs it any more


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. `needs` are the conditions that must hold before; `cause` says why, in a sentence."""

    action: Action
    service: str
    cause: str
    needs: tuple[Dependency, ...] = ()

    def __str__(self) -> str:
        return f"{self.action} {self.service}: {self.cause}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of one `run` or `up`, in an order in which they could be done one by one."""

    project: str
    targets: tuple[str, ...]
    steps: tuple[Step, ...]

    @property
    def launches(self) -> tuple[Step, ...]:
        """The steps that start something."""
        return tuple(step for step in self.steps if step.action is not Action.STOP)

    @property
    def services(self) -> tuple[str, ...]:
        """The services that the plan starts, in order."""
        return tuple(step.service for step in self.launches)

    @property
    def stays(self) -> bool:
        """Whether it leaves its servers up, as `up` does."""
        return all(step.action is not Action.STOP for step in self.steps)

    def as_text(self) -> str:
        """One line a step, with its cause."""
        width = max((len(f"{step.action} {step.service}") for step in self.steps), default=0)
        return "\n".join(f"{f'{step.action} {step.service}':<{width}}  {step.cause}" for step in self.steps)

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain JSON types."""
        return asdict(self)

    def as_mermaid(self) -> str:
        """A Mermaid flow chart: jobs as boxes, servers as cylinders, an arrow from what is waited for."""
        lines = ["flowchart LR"]
        for step in self.launches:
            left, right = ("[(", ")]") if step.action is Action.START else ("[", "]")
            lines.append(f'    {_node(step.service)}{left}"{step.service}"{right}')
        for step in self.launches:
            for need in step.needs:
                word = str(need.condition).removeprefix("service_").split("_")[0]
                lines.append(f"    {_node(need.service)} -->|{word}| {_node(step.service)}")
        return "\n".join(lines)


def make_plan(project: Project, targets: Sequence[str] = (), *, stop: bool = True) -> Plan:
    """The plan that runs `targets` (by default `default_targets`) with all that they depend on.

    With `stop`, it ends by stopping the servers in the reverse order of their start, as `run` does.

    Raises:
        ComposeError: A target is unknown, there is nothing to run, `depends_on` goes in a circle, or the plan is to
            stop and a target is a server, which would be stopped at once.
    """
    wanted = tuple(dict.fromkeys(targets or default_targets(project)))
    because = reachable(project, wanted)
    kind = kinds(project)
    servers = [name for name in wanted if kind[name] is Kind.SERVER]
    if stop and servers:
        why = why_server(project.services[servers[0]]) if len(servers) == 1 else ""
        raise ComposeError(
            f"{_and(servers)} {'is a server' if len(servers) == 1 else 'are servers'}, which nothing would end"
            + (f" ({why})" if why else ""),
            f"keep it up: gigogne up {' '.join(servers)}; or, if it ends by itself, label it gigogne.kind: job",
        )
    order = start_order({name: project.services[name] for name in project.services if name in because})
    launches = []
    for name in order:
        action = Action.START if kind[name] is Kind.SERVER else Action.RUN
        needs = tuple(d for d in project.services[name].depends_on if d.service in because)
        launches.append(Step(action, name, _cause(project, name, wanted, because), needs))
    stops = [
        Step(Action.STOP, s.service, "no job needs it any more") for s in reversed(launches) if s.action is Action.START
    ]
    return Plan(project.name, wanted, (*launches, *(stops if stop else ())))


def default_targets(project: Project) -> tuple[str, ...]:
    """What a bare `gigogne run` runs: `x-gigogne.run` where the project has one, else all jobs.

    Raises:
        ComposeError: `x-gigogne.run` is no list of names, or the project has no jobs.
    """
    hint = "start them with `gigogne up`, or label the one that ends by itself `gigogne.kind: job`"
    return _default(project, "run", "[extractor_sql]", Kind.JOB, hint)


def default_servers(project: Project, targets: Sequence[str] = ()) -> tuple[str, ...]:
    """What `gigogne up` keeps up: what the targets need of servers.

    Without targets, `x-gigogne.up` where the project has one, else all servers.

    Raises:
        ComposeError: `x-gigogne.up` is no list of names, or there are no servers.
    """
    if not targets:
        return _default(project, "up", "[postgres, minio]", Kind.SERVER, "run them: gigogne run")
    kind = kinds(project)
    servers = tuple(name for name in reachable(project, targets) if kind[name] is Kind.SERVER)
    if not servers:
        raise ComposeError(f"{_and(targets)} {'needs' if len(targets) == 1 else 'need'} no servers", "use gigogne run")
    return servers


def _default(project: Project, key: str, example: str, kind: Kind, hint: str) -> tuple[str, ...]:
    """What `x-gigogne` lists under a key, else all services of a kind."""
    listed = project.extension.get(key)
    listed = [] if listed is None else listed
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise ComposeError(f"x-gigogne.{key} is not a list of services", f"write it so: {key}: {example}")
    found = tuple(listed) or tuple(name for name, each in kinds(project).items() if each is kind)
    if not found:
        only = Kind.SERVER if kind is Kind.JOB else Kind.JOB
        raise ComposeError(f"the project has no {kind}s, only {only}s", hint)
    return found


def _cause(project: Project, name: str, targets: Sequence[str], because: dict[str, str | None]) -> str:
    if name in targets:
        return "you asked for it"
    waiting = [
        (service, dependency.condition)
        for service in because
        for dependency in project.services[service].depends_on
        if dependency.service == name
    ]
    strongest = max(waiting, key=lambda pair: list(Condition).index(pair[1]))[1]
    services = [service for service, condition in waiting if condition is strongest]
    return f"{_and(services)} {'waits' if len(services) == 1 else 'wait'} for it {_WAITS[strongest]}"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _node(name: str) -> str:
    """A Mermaid identifier: `end` is a reserved word there, dots and dashes confuse it."""
    return "s_" + "".join(letter if letter.isalnum() else "_" for letter in name)
