"""Airflow operators: one service, the servers that services need, or a whole project in one task.

This module is read with every DAG file, so it imports Airflow's SDK alone: what is needed at work is imported there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = [
    "EngineName",
    "OnProject",
    "ProjectOperator",
    "ServiceOperator",
    "StartServersOperator",
    "StopServersOperator",
]

EngineName = Literal["auto", "process", "docker"]


class OnProject:
    """What the operators share: a project's files, and how what is under way is ended.

    It has no `__init__`: Airflow wraps each one, which DAG files with many tasks would feel.
    """

    project: str | Path
    files: Sequence[str | Path]
    profiles: Sequence[str]
    env_files: Sequence[str | Path]
    project_name: str | None
    engine: str
    interrupt: Callable[[], None] | None = None  # set as soon as something is under way
    killed: bool = False  # before anything was
    ui_fgcolor: ClassVar[str] = "#1f2328"

    def on_kill(self) -> None:
        """Ask what is under way to end, or not to begin. Airflow calls it in a signal handler."""
        if self.interrupt is None:
            self.killed = True
        else:
            self.interrupt()


class ServiceOperator(OnProject, BaseOperator):
    """Runs one job of a Compose project to its end.

    It waits for a few seconds and then defers: a job holds no worker. A retry goes on with a job that still runs.
    Retries, time limits, pools, priorities and callbacks are Airflow's own.

    Args:
        project: The folder of the Compose files, where Airflow runs.
        service: The service, a job.
        files: As `docker compose -f`, seen from the folder.
        profiles: As `docker compose --profile`.
        env_files: As `docker compose --env-file`.
        project_name: As `docker compose -p`.
        engine: Where it runs; `auto` is docker where there is a daemon, else process.
        environment: Variables that win over all that the files say. Values may be templates
            (`{{ conn.db.get_uri() }}`): they are rendered where the job is started, and stored nowhere. In
            `partial()` they should be nothing but templates, since Airflow stores all that stands there in the
            serialised DAG.
        defer_after: After how many seconds the task leaves its worker; None for never.
        skip_on_exit_code: Exit codes after which the task is skipped.
        depends_on: What it waits for, and which Compose key says so; to be shown only.
        servers: The servers that it needs, which are kept while it runs.
        **kwargs: Airflow's own.
    """

    template_fields: Sequence[str] = ("service", "engine", "depends_on", "servers")
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        project: str | Path,
        service: str,
        files: Sequence[str | Path] = (),
        profiles: Sequence[str] = (),
        env_files: Sequence[str | Path] = (),
        project_name: str | None = None,
        engine: EngineName = "auto",
        environment: Mapping[str, str] | None = None,
        defer_after: float | timedelta | None = 5.0,
        skip_on_exit_code: int | Collection[int] | None = None,
        depends_on: Mapping[str, str] | None = None,
        servers: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.project, self.files, self.profiles, self.env_files = project, files, profiles, env_files
        self.project_name, self.engine, self.service, self.environment = project_name, engine, service, environment
        self.defer_after, self.skip_on_exit_code = defer_after, skip_on_exit_code
        self.depends_on, self.servers = depends_on, servers

    def execute(self, context: Context) -> Any:
        """Run the job, or the first seconds of it.

        Raises:
            TaskDeferred: It takes longer.
            AirflowException: It failed.
        """
        from gigogne.airflow.service_task import ServiceTask

        return ServiceTask(self, context).execute()

    def resume(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Go on where the trigger has left the job.

        Raises:
            AirflowException: The job failed, or its time is over.
        """
        from gigogne.airflow.service_task import ServiceTask

        return ServiceTask(self, context).resume(event)


class StartServersOperator(OnProject, BaseOperator):
    """Starts servers of a Compose project and waits until they are healthy; to be a setup task.

    Servers that are up already are used as they are. The result is where each is reached.

    Args:
        project: The folder of the Compose files, where Airflow runs.
        servers: The servers.
        files: As `docker compose -f`, seen from the folder.
        profiles: As `docker compose --profile`.
        env_files: As `docker compose --env-file`.
        project_name: As `docker compose -p`.
        engine: Where they run; `auto` is docker where there is a daemon, else process.
        depends_on: What they wait for, and which Compose key says so; to be shown only.
        **kwargs: Airflow's own.
    """

    template_fields: Sequence[str] = ("servers", "engine", "depends_on")
    ui_color = "#fdf3d8"

    def __init__(
        self,
        *,
        project: str | Path,
        servers: Sequence[str],
        files: Sequence[str | Path] = (),
        profiles: Sequence[str] = (),
        env_files: Sequence[str | Path] = (),
        project_name: str | None = None,
        engine: EngineName = "auto",
        depends_on: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.project, self.files, self.profiles, self.env_files = project, files, profiles, env_files
        self.project_name, self.engine, self.servers, self.depends_on = project_name, engine, servers, depends_on

    def execute(self, context: Context) -> dict[str, str]:
        """Start them.

        Raises:
            AirflowException: One of them does not come up.
        """
        from gigogne.airflow.project_tasks import start

        return start(self, context)


class StopServersOperator(OnProject, BaseOperator):
    """Stops the servers that a DAG run has started and nobody else needs; to be a teardown task.

    Args:
        project: The folder of the Compose files, where Airflow runs.
        servers: The servers.
        files: As `docker compose -f`, seen from the folder.
        profiles: As `docker compose --profile`.
        env_files: As `docker compose --env-file`.
        project_name: As `docker compose -p`.
        engine: Where they run; `auto` is docker where there is a daemon, else process.
        **kwargs: Airflow's own.
    """

    template_fields: Sequence[str] = ("servers", "engine")
    ui_color = "#fdf3d8"

    def __init__(
        self,
        *,
        project: str | Path,
        servers: Sequence[str],
        files: Sequence[str | Path] = (),
        profiles: Sequence[str] = (),
        env_files: Sequence[str | Path] = (),
        project_name: str | None = None,
        engine: EngineName = "auto",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.project, self.files, self.profiles, self.env_files = project, files, profiles, env_files
        self.project_name, self.engine, self.servers = project_name, engine, servers

    def execute(self, context: Context) -> None:
        """Stop them.

        Raises:
            AirflowException: The engine fails.
        """
        from gigogne.airflow.project_tasks import stop

        stop(self, context)


class ProjectOperator(OnProject, BaseOperator):
    """Runs jobs of a Compose project, with all that they need, in one task, as `gigogne run` does.

    It costs far less than a task a job where jobs are short; a retry begins anew. The result is what became of each.

    Args:
        project: The folder of the Compose files, where Airflow runs.
        targets: The jobs; by default what a bare `gigogne run` runs.
        files: As `docker compose -f`, seen from the folder.
        profiles: As `docker compose --profile`.
        env_files: As `docker compose --env-file`.
        project_name: As `docker compose -p`.
        engine: Where they run; `auto` is docker where there is a daemon, else process.
        environment: Variables of all its jobs that win over all that the files say; values may be templates, and in
            `partial()`, which Airflow stores, should be nothing else.
        jobs: How many jobs run side by side at most; by default as many as there are processors.
        keep_going: After a failure, go on with what does not depend on it.
        **kwargs: Airflow's own.
    """

    template_fields: Sequence[str] = ("targets", "engine")
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        project: str | Path,
        targets: Sequence[str] = (),
        files: Sequence[str | Path] = (),
        profiles: Sequence[str] = (),
        env_files: Sequence[str | Path] = (),
        project_name: str | None = None,
        engine: EngineName = "auto",
        environment: Mapping[str, str] | None = None,
        jobs: int | None = None,
        keep_going: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.project, self.files, self.profiles, self.env_files = project, files, profiles, env_files
        self.project_name, self.engine, self.targets, self.environment = project_name, engine, targets, environment
        self.jobs, self.keep_going = jobs, keep_going

    def execute(self, context: Context) -> dict[str, Any]:
        """Run them.

        Raises:
            AirflowException: A job failed.
        """
        from gigogne.airflow.project_tasks import run

        return run(self, context)
