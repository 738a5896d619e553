"""A job between two processes: what the next one needs to see to it. It holds no value of a variable."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gigogne.core.engine import Detached, Handle, Run
from gigogne.core.model import Project

__all__ = ["Job"]


@dataclass(frozen=True, slots=True)
class Job:
    """A job of a detached run, as a task leaves it to the triggerer and gets it back.

    Attributes:
        handle: The job.
        project: The name of its project.
        services: What its run needs: the job itself and its servers.
        grace: How many seconds it has to end in when it is stopped.
        deadline: When it is ended at the latest, in seconds since the epoch.
        position: All that it wrote before this is in the task's log.
    """

    handle: Handle
    project: str
    services: tuple[str, ...]
    grace: float
    deadline: float | None = None
    position: str = ""

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Job:
        """The job of what `as_dict` gave."""
        return cls(**{**data, "handle": Handle(**data["handle"]), "services": tuple(data["services"])})

    def as_dict(self) -> dict[str, Any]:
        """The job as plain JSON types."""
        return {
            "handle": self.handle.as_dict(),
            "project": self.project,
            "services": list(self.services),
            "grace": self.grace,
            "deadline": self.deadline,
            "position": self.position,
        }

    @property
    def run(self) -> Run:
        """Its run, of a project of which no more than the name is known."""
        return Run(self.handle.run, Project(self.project, Path(), (), {}), self.services, Detached(self.deadline))

    @property
    def key(self) -> str:
        """What tells it from every other job, and from other tries of the same one; safe in a file name."""
        data = self.handle.data
        told = [self.handle.engine, self.handle.service, data.get("id") or data.get("pid")]
        return f"{self.handle.run}-{hashlib.sha256(repr(told).encode()).hexdigest()[:12]}"
