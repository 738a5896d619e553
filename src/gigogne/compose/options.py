"""Docker Compose's own options, and what it takes from the environment where they say nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gigogne.compose.binary import run_compose

__all__ = ["LoadOptions", "compose_files", "mentions", "settled"]

# The order in which Docker Compose looks for a file, and for the override beside it.
DEFAULT_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDE_NAMES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
_ASKING = """
name: a
services: {a: {image: a, environment: [COMPOSE_FILE, COMPOSE_PATH_SEPARATOR, COMPOSE_PROFILES]}}
"""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """Docker Compose's own options: `-f`, `-p`, `--project-directory`, `--env-file`, `--profile`."""

    files: tuple[str, ...] = ()
    project_name: str | None = None
    directory: str | None = None
    env_files: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """The options as the words of a command line."""
        words = [word for file in self.files for word in ("-f", file)]
        words += ["-p", self.project_name] if self.project_name is not None else []
        words += ["--project-directory", self.directory] if self.directory is not None else []
        words += [word for file in self.env_files for word in ("--env-file", file)]
        words += [word for profile in self.profiles for word in ("--profile", profile)]
        return words


def compose_files(options: LoadOptions, environment: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """The files that Compose reads first (not those that they include), as absolute paths.

    Compose does not tell which files it found, so this follows its rule: `-f`, else `COMPOSE_FILE`, else the first
    of the default names in this directory or one above it, with the override beside it.
    """
    named: Sequence[str] = options.files
    if not named:
        named = _named_files(_environment(options, "COMPOSE_FILE") if environment is None else environment)
    if named:
        return tuple(Path(file).absolute() for file in named if file != "-")
    start = Path(options.directory or ".").absolute()
    for folder in (start, *start.parents):
        found = [folder / name for name in DEFAULT_NAMES if (folder / name).is_file()][:1]
        if found:
            return (*found, *[folder / name for name in OVERRIDE_NAMES if (folder / name).is_file()][:1])
    return ()


def settled(options: LoadOptions) -> LoadOptions:
    """The options with what `COMPOSE_FILE` and `COMPOSE_PROFILES` add to them, files as seen from their directory.

    They mean the same in every process, wherever it stands.
    """
    directory = Path(options.directory or ".").absolute()
    named = _named_files(_environment(options, "COMPOSE_FILE"))
    files = options.files or tuple(str(directory / name) for name in named)
    switched = _environment(options, "COMPOSE_PROFILES").get("COMPOSE_PROFILES", "").split(",")
    profiles = options.profiles or tuple(name for name in map(str.strip, switched) if name)
    return replace(options, files=files, profiles=profiles)


def _named_files(environment: Mapping[str, str]) -> list[str]:
    separator = environment.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
    return [name for name in environment.get("COMPOSE_FILE", "").split(separator) if name]


def _environment(options: LoadOptions, name: str) -> Mapping[str, str]:
    """The variables by which Compose finds its files and profiles: the shell's; where it has none, those of `.env`."""
    files = [Path(each) for each in options.env_files] or [Path(options.directory or ".", ".env")]
    if name in os.environ or not any(mentions(file, name.encode()) for file in files):
        return os.environ
    # Asked of a project of one service, because the one that they name may be wrong.
    words = [word for file in files for word in ("--env-file", str(file))]
    said = run_compose([*words, "-f", "-", "config", "--format", "json"], _ASKING).stdout
    found = json.loads(said)["services"]["a"]["environment"] if said else {}
    return {each: value for each, value in found.items() if value is not None}


def mentions(file: Path, word: bytes) -> bool:
    """Whether the word stands anywhere in a file; not in one that cannot be read."""
    try:
        return word in file.read_bytes()
    except OSError:
        return False
