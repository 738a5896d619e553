"""The environment of an operator, read from a DAG file by Airflow itself."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gigogne.compose.airflow_layers import OperatorEnvironment
from gigogne.core.suggestion import did_you_mean
from gigogne.errors import ComposeError, EngineError

__all__ = ["Airflow"]


@dataclass(frozen=True, slots=True)
class Airflow:
    """What is known of how Airflow runs the service: a DAG file, or names of variables that an operator sets."""

    file: Path | None = None
    names: tuple[str, ...] = ()

    def environment(self, service: str, directory: Path) -> OperatorEnvironment:
        """What the operator adds to the environment of a service of the project in `directory`.

        Raises:
            EngineError: There is a DAG file, and no Airflow to read it.
            ComposeError: The DAG file cannot be imported, or no task in it runs the service.
        """
        named: dict[str, str | None] = dict.fromkeys(self.names)
        if self.file is None:
            told = () if named else ("the operator's environment is not shown: --dag FILE reads it from a DAG file",)
            return OperatorEnvironment(named, remarks=told)
        found = _operator_environment(self.file, service, directory)
        return replace(found, templates=named | dict(found.templates))


def _operator_environment(file: Path, service: str, directory: Path) -> OperatorEnvironment:
    """The environment that the task of a service gets from the DAG file; no template is rendered."""
    if not file.is_file():
        raise ComposeError(f"there is no DAG file {file}", "correct the path after --dag")
    tasks = list(_tasks(file))
    mine = [task for task in tasks if getattr(task, "service", None) == service]
    # A task that runs the whole project has targets in place of a service.
    mine += [task for task in tasks if not hasattr(task, "service") and hasattr(task, "targets")]
    if not mine:
        others = sorted({task.service for task in tasks if isinstance(getattr(task, "service", None), str)})
        hint = did_you_mean(service, others) or f"its tasks run: {', '.join(others) or 'no service'}"
        raise ComposeError(f"no task of {file} runs {service}", hint)
    task = mine[0]
    templates = {name: str(text) for name, text in (task.environment or {}).items()}
    return OperatorEnvironment(
        templates, _lines(file, templates), file.absolute(), _name(task), tuple(_remarks(mine, service, directory))
    )


def _tasks(file: Path) -> Iterator[Any]:
    """The tasks of all DAGs in a file, as Airflow finds them."""
    if importlib.util.find_spec("airflow") is None:
        raise EngineError(
            "a DAG file is read by Airflow, which is not installed here",
            "pip install 'gigogne[airflow]', or run this where Airflow is; "
            "--dag-env NAME tells of a variable without the file",
        )
    # What is printed meanwhile, by Airflow or by the file, is no part of the explanation.
    with contextlib.redirect_stdout(sys.stderr), _importable(file.absolute().parent):
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(str(file.absolute()), collect_dags=False)
        bag.process_file(str(file.absolute()), only_if_updated=False, safe_mode=False)  # type: ignore[no-untyped-call]
    for error in bag.import_errors.values():
        last = error.strip().splitlines()[-1]
        raise ComposeError(f"Airflow cannot import {file}: {last}", f"python {file} shows where")
    for dag in bag.dags.values():
        yield from dag.tasks


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """While it holds, modules beside the DAG file can be imported, as they can in Airflow."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _lines(file: Path, names: Iterable[str]) -> dict[str, int]:
    """The lines on which a file has these names as keys of a mapping; of one that is there twice, none."""
    found: dict[str, list[int]] = {}
    for node in ast.walk(ast.parse(file.read_bytes())):
        keys: list[tuple[Any, int]] = []
        if isinstance(node, ast.Dict):
            keys = [(key.value, key.lineno) for key in node.keys if isinstance(key, ast.Constant)]
        elif isinstance(node, ast.keyword):
            keys = [(node.arg, node.value.lineno)]
        for name, line in keys:
            found.setdefault(name, []).append(line)
    return {name: found[name][0] for name in names if len(found.get(name, ())) == 1}


def _remarks(tasks: list[Any], service: str, directory: Path) -> Iterator[str]:
    first, others = tasks[0], [_name(task) for task in tasks[1:]]
    if others:
        verb = "run" if others[1:] else "runs"
        yield f"the operator is that of {_name(first)}; {', '.join(others)} {verb} {service} too"
    project = getattr(first, "project", None)
    if project and Path(project).absolute() != directory.absolute():
        yield f"the DAG reads the project in {project}; the Compose files explained here are those in {directory}"


def _name(task: Any) -> str:
    return f"{task.dag_id}.{task.task_id}"
