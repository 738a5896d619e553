"""Where each variable and each mount of a service comes from, what overrode what, and what was lost on the way.

Values, and whether `environment:` or an `env_file` set a variable, are Compose's own answers, compared with one
another; the files are read here for their lines only. Where no line accounts for Compose's value, none is named.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gigogne.compose.binary import run_compose
from gigogne.compose.dockerfile import copied_at, dockerfile_variables
from gigogne.compose.envfiles import env_file_lines, project_env_files
from gigogne.compose.evaluation import evaluate
from gigogne.compose.explanation import Explanation, Form, Setting, SettingKind, Variable
from gigogne.compose.layers import Layer, Source, dockerfile_place, service_layers, sources
from gigogne.compose.load import LoadOptions, compose_files
from gigogne.compose.locate import Location, compose_error
from gigogne.compose.lost import Evidence, lost_variables
from gigogne.compose.mounts import mount_paths
from gigogne.compose.settings import EnvFiles, env_file_service, environment_lines, environment_settings
from gigogne.core.lint import unset_variable
from gigogne.core.model import Mount, Project, Service
from gigogne.errors import ComposeError

__all__ = ["explanation"]


def explanation(
    options: LoadOptions,
    project: Project,
    service: str,
    place: Callable[[Mount], Path | None],
    outside: Callable[[str], Sequence[str]] = lambda _: (),
) -> Explanation:
    """Explain one service.

    Args:
        options: The options that the project was loaded with.
        project: The project, with the service in it.
        service: Its name.
        place: Where the engine keeps what a mount shows, on this machine; None where it cannot say.
        outside: What a path is outside the container in which Gigogne is at work, the daemon's host first.

    Raises:
        ComposeError: There is no such service, or Compose refuses the files.
        EngineError: The Compose binary is missing.
    """
    if service not in project.services:
        known = ", ".join(project.services)
        raise ComposeError(f"there is no service {service}", f"the services of these files are: {known}")
    made = project.services[service]
    files = tuple(Path(os.path.normpath(file)) for file in compose_files(options))
    directory = Path(options.directory).absolute() if options.directory else files[0].parent if files else Path.cwd()
    project = replace(project, directory=directory)
    feeding = project_env_files(options, directory, os.environ)
    every = sources(files, directory)
    layers = service_layers(service, every)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(_unresolved, options, service)
        included = (file for layer in layers for file in layer.source.env_files)
        read = tuple(dict.fromkeys((*feeding, *included)))
        mounts = pool.submit(mount_paths, project, made, layers, every, read, place, outside)
        env_files = EnvFiles.read(read, project, os.environ)
        unresolved = asked.result()
        entries = tuple(unresolved.get("env_file") or ())
        settings = _Settings(project, made, unresolved.get("environment") or {}, entries, feeding, env_files)
        variables = settings.variables(layers, every, pool)
        unset = frozenset(map(unset_variable, project.warnings))
        evidence = Evidence(made, variables, layers, every, feeding, env_files, entries, unset)
        notes = tuple(_notes(made, entries, layers))
        return Explanation(service, directory, variables, lost_variables(evidence), mounts.result(), notes)


def _unresolved(options: LoadOptions, service: str) -> dict[str, Any]:
    """The service with its env files still apart from its `environment:`."""
    options = replace(options, profiles=("*",))
    result = run_compose([*options.arguments(), "config", "--format", "json", "--no-env-resolution"])
    if result.returncode != 0:
        raise compose_error(result.stderr, compose_files(options))
    found: dict[str, Any] = json.loads(result.stdout.replace("$$", "$"))["services"].get(service, {})
    return found


@dataclass(frozen=True)
class _Settings:
    """What is known of the variables of one service.

    `environment` is what Compose resolves without the env files, `entries` are those env files.
    """

    project: Project
    service: Service
    environment: Mapping[str, str | None]
    entries: Sequence[Mapping[str, Any]]
    feeding: Sequence[Path]
    env_files: EnvFiles

    def variables(self, layers: Sequence[Layer], every: Sequence[Source], pool: Executor) -> tuple[Variable, ...]:
        """The variables that reach the service, those that it asks for in vain, and those of its image."""
        from_files = pool.submit(self._env_file_settings)
        lines = environment_settings(environment_lines(layers), self.project, self.feeding, self.env_files, pool)
        image = _image_settings(self.service, layers)
        resolved: dict[str, str | None] = self.service.raw.get("environment") or {}
        found = []
        for name in dict.fromkeys((*resolved, *image)):
            below = (*from_files.result().get(name, ()), *image.get(name, ()))
            above = self._confirmed(name, lines.get(name, ()), every) if name in self.environment else ()
            chain = (*above, *below) or (Setting(SettingKind.ENV_FILE, Form.LITERAL, None, None),)
            # What an env file gives may depend on `environment:`; so the winner has the value that Compose resolves.
            winner = replace(chain[0], value=resolved.get(name, chain[0].value))
            found.append(Variable(name, winner.value, (winner, *chain[1:])))
        return tuple(found)

    def _confirmed(self, name: str, chain: Sequence[Setting], every: Sequence[Source]) -> tuple[Setting, ...]:
        """The lines of `environment:`, where the first gives what Compose resolves; else one that names no line."""
        value = self.service.raw["environment"].get(name)
        if chain and chain[0].value == value:
            return tuple(chain)
        where = Location(every[0].file) if len(every) == 1 else None
        return (Setting(SettingKind.ENVIRONMENT, Form.LITERAL, where, value),)

    def _env_file_settings(self) -> dict[str, list[Setting]]:
        """What each env file sets, the last one first; its values may use those of the files before it."""
        entries = [dict(entry) for entry in self.entries]
        asked = {f"alone-{number}": env_file_service([entry]) for number, entry in enumerate(entries)}
        asked |= {f"turn-{number}": env_file_service(entries[: number + 1]) for number in range(len(entries))}
        answers = evaluate(asked, self.project, self.feeding)
        found: dict[str, list[Setting]] = {}
        for number, entry in reversed(list(enumerate(entries))):
            file = Path(entry["path"])
            lines = env_file_lines(file, raw=entry.get("format") == "raw")
            values = answers.get(f"turn-{number}", {}).get("environment") or {}
            for name in answers.get(f"alone-{number}", {}).get("environment") or {}:
                line = lines.get(name)
                passed = line is not None and line.passed
                feeds = (self.env_files.feed(name, self.feeding, values.get(name)),) if passed else ()
                where = Location(file, line.number if line else None)
                setting = Setting(
                    SettingKind.ENV_FILE, Form.PASSED if passed else Form.LITERAL, where, values.get(name), feeds
                )
                found.setdefault(name, []).append(setting)
        return found


def _image_settings(service: Service, layers: Sequence[Layer]) -> dict[str, list[Setting]]:
    """The ENV of the Dockerfile, the last one of a name first."""
    found: dict[str, list[Setting]] = {}
    for variable in reversed(dockerfile_variables(service.build) if service.build else ()):
        if not variable.argument:
            where = dockerfile_place(service, layers, variable.line)
            setting = Setting(SettingKind.IMAGE, Form.LITERAL, where, variable.value)
            found.setdefault(variable.name, []).append(setting)
    return found


def _notes(service: Service, entries: Sequence[Mapping[str, Any]], layers: Sequence[Layer]) -> Iterator[str]:
    """What one should know beside: env files that are not there, or in the image, and an ENV that cannot be seen."""
    for entry in entries:
        file = Path(entry["path"])
        if not file.is_file():
            yield f"{file} is not there; it is `required: false`, so nothing is read from it"
        elif service.build is not None and (line := copied_at(service.build, file)):
            place = dockerfile_place(service, layers, line)
            yield f"{file} is in the image too, by {place}: keep its values out of it, with a line in .dockerignore"
    if service.build is None:
        yield f"the ENV that the image {service.image} may hold is not shown: it has no Dockerfile here"
    else:
        yield "the ENV that the Dockerfile's base image may hold is not shown: only the Dockerfile's own is"
