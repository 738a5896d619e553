"""The tasks of a run that are not launched yet: which of them can be, and which never will be."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from gigogne.core.model import Condition, Dependency
from gigogne.core.outcome import Verdict
from gigogne.orchestrators.task import Task

__all__ = ["Backlog"]


class Backlog:
    """Looks, when something changes for a task, only at those that wait for it: graphs may be large.

    Attributes:
        able: The tasks whose conditions hold, in the order in which that came to be.
    """

    def __init__(self, tasks: Mapping[str, Task]) -> None:
        """All tasks of a plan that are not launched, each after those that it waits for."""
        self.able: deque[Task] = deque()
        self._tasks = tasks
        self._waiting = {name: task for name, task in tasks.items() if not task.launched}
        self._dependents: dict[str, list[str]] = {name: [] for name in tasks}
        for name, task in tasks.items():
            for need in task.step.needs:
                self._dependents[need.service].append(name)
        self._look(list(self._waiting))

    def __bool__(self) -> bool:
        """Whether any task is still to be launched."""
        return bool(self._waiting or self.able)

    def news(self, changed: Iterable[Task]) -> None:
        """Look again at those who wait for what has changed."""
        self._look([name for task in changed for name in self._dependents[task.name]])

    def _look(self, names: list[str]) -> None:
        for name in names:  # which grows: who waits for what is given up is given up too
            task = self._waiting.get(name)
            if task is None:
                continue
            lost = next((need.service for need in task.step.needs if self._is_lost(need)), None)
            if lost is not None:
                del self._waiting[name]
                task.skip(f"{lost} {self._tasks[lost].outcome.verdict}")
                names += self._dependents[name]
            elif all(map(self._holds, task.step.needs)):
                self.able.append(self._waiting.pop(name))

    def _holds(self, need: Dependency) -> bool:
        task = self._tasks[need.service]
        if need.condition is Condition.STARTED:
            met = task.started
        elif need.condition is Condition.HEALTHY:
            met = task.healthy and not task.done
        else:
            met = task.outcome.verdict is Verdict.SUCCEEDED
        return met or (task.done and not need.required)

    def _is_lost(self, need: Dependency) -> bool:
        return self._tasks[need.service].done and not self._holds(need)
