"""What a project is as a DAG: its tasks, their order, and why. Plain data that JSON can keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["JobTask", "Outline", "Stage"]


@dataclass(frozen=True)
class JobTask:
    """A job as a task.

    Attributes:
        service: The job; the task has its name.
        after: The jobs that it waits for.
        servers: The servers that it needs, and those that they need.
        stage: The number of the last stage of servers that must be up before; None where another task it waits for
            has seen to that, or where it needs none.
        closes: Whether the servers may be stopped as far as this task goes, once it is done.
        depends_on: The same as the Compose files have it: the other service → the place of the line, and what it says.
        restarts: How often the Compose file restarts it after a failure; 0 where it does not say.
        options: What the labels set.
        documentation: What there is to read of the service, as Markdown.
    """

    service: str
    after: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    stage: int | None = None
    closes: bool = False
    depends_on: Mapping[str, str] = field(default_factory=dict)
    restarts: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    documentation: str = ""


@dataclass(frozen=True)
class Stage:
    """Servers that are started by one task: as soon as nothing of them has to wait for another job."""

    task: str
    servers: tuple[str, ...]
    after: tuple[str, ...] = ()
    depends_on: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outline:
    """The tasks of a project.

    Attributes:
        targets: What is asked for; the tasks are these with all that they wait for.
        profiles: The Compose profiles that are switched on.
        jobs: A task each.
        stages: The tasks that start servers, in their order.
        stop: The name of the task that stops them.
        files: The Compose files, where they are named: with those of a pipeline they all are.
    """

    targets: tuple[str, ...]
    profiles: tuple[str, ...]
    jobs: tuple[JobTask, ...]
    stages: tuple[Stage, ...] = ()
    stop: str = "stop_servers"
    files: tuple[str, ...] = ()

    @classmethod
    def of_dict(cls, plain: Mapping[str, Any]) -> Outline:
        """The outline again, of what `dataclasses.asdict` made of one and JSON gave back."""
        jobs = (JobTask(**{**job, **_tuples(job, "after", "servers")}) for job in plain["jobs"])
        stages = (Stage(**{**stage, **_tuples(stage, "after", "servers")}) for stage in plain["stages"])
        return cls(
            **{**plain, **_tuples(plain, "targets", "profiles", "files"), "jobs": tuple(jobs), "stages": tuple(stages)}
        )


def _tuples(plain: Mapping[str, Any], *names: str) -> dict[str, tuple[str, ...]]:
    return {name: tuple(plain[name]) for name in names}
