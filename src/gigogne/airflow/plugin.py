"""An Airflow plugin: the scheduler imports, once, what each task of a project would import anew.

LocalExecutor forks its workers from the scheduler, and a process for each task from a worker: what is imported in the
one is there in the others.
"""

from __future__ import annotations

import contextlib
import importlib
import sys

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

__all__ = ["GigognePlugin"]

_OF_A_TASK = (
    "airflow.sdk.execution_time.context",
    "gigogne.airflow.service_task",
    "gigogne.compose.load",
    "gigogne.engines.docker.engine",
    "gigogne.engines.docker.guard",
    "gigogne.engines.docker.place",
    "docker",
)


@hookimpl
def on_starting(component: object) -> None:
    """Called by Airflow as a component starts; it does not tell yet which one. The others are few, and long-lived."""
    for name in _OF_A_TASK:
        with contextlib.suppress(ImportError):  # a task would say it; a scheduler has to live
            importlib.import_module(name)


class GigognePlugin(AirflowPlugin):
    """Gigogne, as `airflow plugins` lists it."""

    name = "gigogne"
    listeners = [sys.modules[__name__]]  # noqa: RUF012 (Airflow's own form)
