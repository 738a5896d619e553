"""A Compose project as a DAG, or as a group of tasks in a larger one. Only files are read: no Docker, no network."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_args

from airflow.sdk import DAG, TaskGroup

import gigogne
from gigogne.airflow.cache import cached
from gigogne.airflow.files import load_options
from gigogne.airflow.operators import (
    EngineName,
    ProjectOperator,
    ServiceOperator,
    StartServersOperator,
    StopServersOperator,
)
from gigogne.airflow.outline import JobTask, Outline
from gigogne.compose.binary import compose_binary
from gigogne.compose.options import LoadOptions, compose_files, settled
from gigogne.engines.process.paths import Paths
from gigogne.errors import ComposeError, EngineError

__all__ = ["ComposeDag", "ComposeTaskGroup"]

Render = Literal["services", "project"]
_WORDS = {"engine": get_args(EngineName), "render": get_args(Render)}


@dataclass(frozen=True, kw_only=True)
class _Source:
    """What a DAG is made of: the arguments that `ComposeDag` and `ComposeTaskGroup` have in common."""

    project: Path
    files: Sequence[str | Path] = ()
    pipeline: str | None = None
    profiles: Sequence[str] = ()
    env_files: Sequence[str | Path] = ()
    project_name: str | None = None
    select: Sequence[str] = ()
    exclude: Sequence[str] = ()
    environment: Mapping[str, str] | None = field(default=None, repr=False)
    engine: EngineName = "auto"
    defer_after: float | timedelta | None = 5.0
    render: Render = "services"

    @classmethod
    def taken_from(cls, arguments: dict[str, Any], project: Path) -> _Source:
        """The source that arguments tell of, which are taken out of them; what is left is Airflow's."""
        mine = {each.name: arguments.pop(each.name) for each in fields(cls) if each.name in arguments}
        for name in ("profiles", "select", "exclude"):  # one name alone may stand for itself
            given = mine.get(name, ())
            mine[name] = (given,) if isinstance(given, str) else tuple(given)
        return cls(project=project, **mine)

    @property
    def options(self) -> LoadOptions:
        """Docker Compose's options for it."""
        return load_options(self.project, self.files, self.profiles, self.env_files, self.project_name)

    def fill(self, dag: DAG, group: TaskGroup) -> None:
        """Add the tasks of the project to a group of a DAG.

        Raises:
            ComposeError: The files or what is said here is wrong; with file and line.
            EngineError: The Compose binary is missing.
        """
        defaults = {**dag.default_args, **group.default_args}
        try:
            _check(self, defaults)
            options = settled(self.options)
            made = _outline(self, options)
        except (ComposeError, EngineError) as error:
            # What Airflow shows of an error is its text.
            raise type(error)(f"{error.message}; {error.hint}" if error.hint else error.message) from None
        _add_tasks(made, self, options, defaults, {"dag": dag, "task_group": group})


class ComposeDag(DAG):
    """A DAG of a Compose project: a job is a task, `depends_on` is an edge.

    The servers that jobs need are started by a setup task and stopped by a teardown task. What is not said here is
    as `gigogne run` has it.

    Args:
        dag_id: The id of the DAG.
        project: The folder of the Compose files, where Airflow runs; a relative one begins at the DAG file's folder.
        files: As `docker compose -f`, seen from the folder.
        pipeline: One of the project's `x-gigogne.pipelines`, as `gigogne run --pipeline`.
        profiles: As `docker compose --profile`.
        env_files: As `docker compose --env-file`.
        project_name: As `docker compose -p`.
        select: The jobs; what they wait for is taken too. By default those of the pipeline, of `x-gigogne.run`, or all.
        exclude: Services that are left out. What waits for one of them does so no more; nothing takes its place.
        environment: Variables of all jobs that win over all that the files say; values may be templates
            (`{{ conn.db.get_uri() }}`). They are rendered where a job is started, and stored nowhere.
        engine: Where services run; `auto` is docker where a daemon answers, else process.
        defer_after: After how many seconds a task leaves its worker; None for never.
        render: `services` is a task for each job; `project` one task, named run, for all of them.
        **arguments: Airflow's own: schedule, default_args, callbacks …

    Raises:
        ComposeError: The files or what is said here is wrong; with file and line.
        EngineError: The Compose binary is missing.
    """

    def __init__(self, dag_id: str, *, project: str | Path, **arguments: Any) -> None:
        file = sys._getframe(1).f_code.co_filename
        source = _Source.taken_from(arguments, Path(file).parent / project)
        super().__init__(dag_id, **arguments)
        self.fileloc = file
        source.fill(self, self.task_group)

    def __hash__(self) -> int:
        # Equal DAGs have one id. Airflow's own hash goes through all tasks, and is asked for at every edge.
        return hash((type(self), self.dag_id))


class ComposeTaskGroup(TaskGroup):
    """A Compose project as a group of tasks in a larger DAG.

    Args:
        group_id: The id of the group.
        project: The folder of the Compose files, where Airflow runs; a relative one begins at the DAG file's folder.
        **arguments: All others of `ComposeDag` that tell of the project; and Airflow's own.

    Raises:
        ComposeError: The files or what is said here is wrong; with file and line.
        EngineError: The Compose binary is missing.
    """

    def __init__(self, group_id: str, *, project: str | Path, **arguments: Any) -> None:
        folder = Path(sys._getframe(1).f_code.co_filename).parent
        source = _Source.taken_from(arguments, folder / project)
        super().__init__(group_id=group_id, **arguments)
        source.fill(self.dag, self)


def _check(source: _Source, defaults: Mapping[str, Any]) -> None:
    """Refuse what cannot be meant."""
    for name, known in _WORDS.items():
        if (given := getattr(source, name)) not in known:
            raise ComposeError(f"{name} is {given!r}", f"write one of {', '.join(known)}")
    if "environment" in defaults:
        raise ComposeError(
            "environment stands in default_args, whose values Airflow stores", "give it to ComposeDag itself"
        )
    if source.render == "project" and source.exclude:
        raise ComposeError("with render='project' nothing can be excluded", "name the jobs that are to run in select")


def _add_tasks(
    made: Outline, source: _Source, options: LoadOptions, defaults: Mapping[str, Any], where: Mapping[str, Any]
) -> None:
    common: dict[str, Any] = {
        **where,
        "project": options.directory,
        "files": made.files,
        "profiles": made.profiles,
        "env_files": options.env_files,
        "project_name": options.project_name,
        "engine": source.engine,
    }
    if source.render == "project":
        ProjectOperator(task_id="run", targets=made.targets, environment=source.environment, **common)
        return
    starts = [
        StartServersOperator(task_id=stage.task, servers=stage.servers, depends_on=stage.depends_on, **common)
        for stage in made.stages
    ]
    jobs = {job.service: ServiceOperator(**_arguments(job, source, defaults), **common) for job in made.jobs}
    for number, stage in enumerate(made.stages):
        starts[number].set_upstream([*starts[max(number - 1, 0) : number], *(jobs[name] for name in stage.after)])
    for job in made.jobs:
        before = [] if job.stage is None else [starts[job.stage]]
        jobs[job.service].set_upstream([*before, *(jobs[name] for name in job.after)])
    if starts:
        servers = tuple(name for stage in made.stages for name in stage.servers)
        stop = StopServersOperator(task_id=made.stop, servers=servers, **common).as_teardown(setups=starts)
        stop.set_upstream([jobs[job.service] for job in made.jobs if job.closes])


def _arguments(job: JobTask, source: _Source, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a job's operator: its labels win over the arguments of the DAG, these over `restart:`."""
    found: dict[str, Any] = {
        "task_id": job.service,
        "service": job.service,
        "environment": source.environment,
        "defer_after": source.defer_after,
        "depends_on": job.depends_on,
        "servers": job.servers,
        "doc_md": job.documentation or None,
    }
    if job.restarts and "retries" not in defaults:
        found["retries"] = job.restarts
    found |= job.options
    if "execution_timeout" in job.options:
        found["execution_timeout"] = timedelta(seconds=job.options["execution_timeout"])
    return found


def _outline(source: _Source, options: LoadOptions) -> Outline:
    """The outline of the project, from the cache where its files are as they were."""
    binary = compose_binary()
    stamp = binary.stat()
    version = (gigogne.__version__, str(binary), stamp.st_size, stamp.st_mtime_ns)
    files = compose_files(options)
    if not files:
        raise ComposeError(
            f"no Compose file in {options.directory}", "name the folder of your docker-compose.yml: project=…"
        )
    key = (version, options, files, source.pipeline, source.select, source.exclude)

    def make() -> tuple[dict[str, Any], tuple[Path, ...]]:
        from gigogne.airflow.structure import outline
        from gigogne.compose.selection import select
        from gigogne.compose.structure import load_structure

        chosen = select(options, source.select, [source.pipeline] if source.pipeline else ())
        structure = load_structure(chosen.options, chosen.names, chosen.places)
        return asdict(outline(structure, chosen, source.exclude)), structure.read

    return cached(Paths.of_user().cache / "airflow", key, make, Outline.of_dict)
