"""What Airflow names of a project: its files, and the id under which the tries of one task find each other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from gigogne.compose import LoadOptions

__all__ = ["load_options", "stable_run_id"]


def load_options(
    project: str | Path,
    files: Sequence[str | Path] = (),
    profiles: Sequence[str] = (),
    env_files: Sequence[str | Path] = (),
    project_name: str | None = None,
) -> LoadOptions:
    """Docker Compose's options for the project in a folder; files are named from there, wherever Airflow runs."""
    directory = Path(project).absolute()
    return LoadOptions(
        files=tuple(str(directory / file) for file in files),
        project_name=project_name,
        directory=str(directory),
        env_files=tuple(str(directory / file) for file in env_files),
        profiles=tuple(profiles),
    )


def stable_run_id(*identity: object) -> str:
    """The id of the run of one Airflow task, or of one DAG run's servers: the same in every try, and in no other."""
    return f"airflow-{hashlib.sha256(repr(identity).encode()).hexdigest()[:12]}"
