"""What a project says of its model: under which names MLflow has it, and what reads its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

__all__ = ["M", "Registered", "RegisteredModel"]

M = TypeVar("M")


@dataclass(frozen=True)
class RegisteredModel(Generic[M]):
    """A registered model: a name with versions, one of which is in service.

    Attributes:
        name: Its name in the registry.
        alias: The alias of the version that is promoted.
        experiment: The experiment that has the runs of its trainings, and the name of what they learned from.
        about: What it is for, in a sentence.
        folder: The folder of its files in the package of a version.
        files: The names of those that `load` reads.
        load: Reads such a folder.
        damaged: What `load` raises where the files are not those that were saved.
    """

    name: str
    alias: str
    experiment: str
    about: str
    folder: str
    files: tuple[str, ...]
    load: Callable[[Path], M]
    damaged: type[Exception]


@dataclass(frozen=True)
class Registered(Generic[M]):
    """A version of a registered model, loaded.

    Attributes:
        version: Its number.
        run_id: The run that made it.
        model: What predicts.
    """

    version: int
    run_id: str
    model: M
