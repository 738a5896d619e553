"""The tasks of a project's servers, and that of a whole project, at work on a worker."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gigogne.airflow.context import project_run, servers_run, variables
from gigogne.airflow.execution import Interruption, check, guard, open_project, selection
from gigogne.airflow.masking import mask_secrets
from gigogne.airflow.outcome import fail, told
from gigogne.airflow.run_log import RunLog, summarised
from gigogne.core.engine import Engine
from gigogne.core.environment import with_variables
from gigogne.core.graph import kinds
from gigogne.core.model import Kind, Project
from gigogne.orchestrators.native import TERMINATED, NativeOrchestrator
from gigogne.orchestrators.servers import ServersStart, stop_servers

if TYPE_CHECKING:
    from airflow.sdk import Context

    from gigogne.airflow.operators import OnProject, ProjectOperator, StartServersOperator, StopServersOperator

__all__ = ["run", "start", "stop"]


def start(operator: StartServersOperator, context: Context) -> dict[str, str]:
    """Start servers for a DAG run; where each is reached."""
    log, servers = RunLog(), tuple(operator.servers)
    with told():
        engine, project = _opened(operator, servers, log)
        check(engine, project, servers, log)
        of_run = servers_run(context, project, _all_servers(operator, context, servers))
        guard(engine, project)  # this process may be killed before all of them are up
        bringing = ServersStart(engine, of_run, servers, log.emit)
        with Interruption(operator, bringing.interrupt) as interruption:
            if interruption.asked:
                fail("the servers were not started: Airflow ended the task before")
            handles = bringing.execute()
        guard(engine, project)  # with nothing to guard, the first one ends while a large image is pulled
    return {handle.service: str(handle.data.get("address", "")) for handle in handles}


def stop(operator: StopServersOperator, context: Context) -> None:
    """Stop those that the DAG run has started and nobody else needs."""
    log, servers = RunLog(), tuple(operator.servers)
    with told():
        engine, project = _opened(operator, servers, log)
        stop_servers(engine, servers_run(context, project, servers), servers, log.emit)


def run(operator: ProjectOperator, context: Context) -> dict[str, Any]:
    """Run jobs of a project, with all that they need; what became of each."""
    log = RunLog()
    with told():
        given = variables(operator, operator.environment, context)
        chosen = selection(operator, operator.targets)
        engine, project = open_project(operator, chosen, log)
        plan = chosen.plan(project)
        jobs = [name for name, kind in kinds(project).items() if kind is Kind.JOB]
        project = with_variables(project, jobs, given)
        for name in plan.services:
            mask_secrets(project.services[name].environment, project.services)
        check(engine, project, plan.services, log)
        orchestrator = NativeOrchestrator(
            engine,
            project_run(project, plan.services),
            log.emit,
            jobs=operator.jobs or os.cpu_count() or 4,
            keep_going=operator.keep_going,
        )
        with Interruption(operator, lambda: orchestrator.interrupt(TERMINATED)):
            result = orchestrator.execute(plan)
    return summarised(result, log)


def _opened(operator: OnProject, servers: Sequence[str], log: RunLog) -> tuple[Engine, Project]:
    engine, project = open_project(operator, selection(operator, servers), log)
    for name in servers:
        mask_secrets(project.services[name].environment, project.services)
    return engine, project


def _all_servers(operator: StartServersOperator, context: Context, servers: Sequence[str]) -> tuple[str, ...]:
    """Those of this stage and of the earlier ones, which a stage that fails must not give up."""
    earlier = operator.get_flat_relative_ids(upstream=True)
    stages = [task for task in context["dag"].tasks if isinstance(task, type(operator)) and task.task_id in earlier]
    return tuple(dict.fromkeys([*servers, *(name for stage in stages for name in stage.servers)]))
