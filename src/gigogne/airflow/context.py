"""What a run takes from Airflow's context: its identity, and variables."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gigogne.airflow.files import stable_run_id
from gigogne.core.engine import Detached, Run
from gigogne.core.model import Project

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

__all__ = ["job_run", "project_run", "servers_run", "variables"]

_IDENTITY = ("dag_id", "task_id", "run_id", "map_index", "try_number")


def job_run(context: Context, project: Project, services: Sequence[str], timeout: float | None) -> Run:
    """The run of one task, whose job outlives the process that starts it; the same in each try."""
    ti = context["ti"]
    deadline = None if timeout is None else time.time() + timeout
    identity = stable_run_id(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
    return Run(identity, project, tuple(services), _detached(context, deadline))


def servers_run(context: Context, project: Project, services: Sequence[str]) -> Run:
    """The run that the servers of a DAG run (or of one task group in it) belong to."""
    ti = context["ti"]
    group = ti.task_id.rpartition(".")[0]
    return Run(
        stable_run_id(ti.dag_id, ti.run_id, "servers", group), project, tuple(services), _detached(context, None)
    )


def project_run(project: Project, services: Sequence[str]) -> Run:
    """A run that lives and ends in this process."""
    return Run(f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}", project, tuple(services))


def variables(operator: BaseOperator, environment: Mapping[str, str] | None, context: Context) -> dict[str, str]:
    """Airflow's own variables (`AIRFLOW_CTX_…`) and those of an operator, rendered here and nowhere else."""
    from airflow.sdk.execution_time.context import context_to_airflow_vars

    rendered: dict[str, Any] = operator.render_template(dict(environment or {}), context)
    given = {name: str(value) for name, value in rendered.items() if value is not None}
    return {**context_to_airflow_vars(context, in_env_var_format=True), **given}


def _detached(context: Context, deadline: float | None) -> Detached:
    ti = context["ti"]
    labels = {f"airflow.{name}": str(getattr(ti, name)) for name in _IDENTITY}
    return Detached(deadline, int(ti.try_number), labels)
