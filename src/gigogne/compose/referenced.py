"""What a project's files read from elsewhere, variables of the shell and other files: with these they mean the same."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from gigogne.compose.binary import run_compose
from gigogne.compose.envfiles import env_file_lines, project_env_files
from gigogne.compose.interpolation import references
from gigogne.compose.layers import Layer, Source, service_layers, sources
from gigogne.compose.load import LoadOptions, compose_files
from gigogne.compose.nodes import field, fields, items, scalars
from gigogne.compose.pipelines import project_pipelines
from gigogne.core.model import Project

__all__ = ["referenced_files", "referenced_variables"]


def referenced_variables(options: LoadOptions, project: Project) -> frozenset[str]:
    """Their names, set or not: those in `${…}`, those that stand alone, those of secrets and configs.

    Compose files with what they include and extend, the services' env files, and `.env` are looked at; services of
    profiles that are not switched on too, and pipelines.
    """
    every = _sources(options, project)
    names: set[str] = set()
    texts: list[str] = []
    for node in _nodes(every):
        texts += scalars(node)
        names.update(_alone(node))
    for source in every:
        for section in ("secrets", "configs"):
            origins = (field(value, "environment") for _, value in fields(field(source.root, section)))
            names.update(node.value for node in origins if isinstance(node, yaml.ScalarNode))
    for file in _env_files(options, project, every):
        for name, line in env_file_lines(file).items():
            texts.append(line.text)
            names |= {name} if line.passed else set()
    names |= {found.name for text in texts for outer in references(text) for found in outer.walk()}
    return frozenset(names)


def referenced_files(options: LoadOptions, project: Project) -> tuple[Path, ...]:
    """The files that Compose reads, there or not: its own with what they include and extend, and all env files.

    Services of profiles that are not switched on are looked at too, and pipelines.
    """
    every = _sources(options, project)
    read = [*every, *(layer.source for layer in _layers(every))]
    files = [*(source.file for source in read), *_env_files(options, project, every)]
    return tuple(dict.fromkeys(Path(os.path.normpath(file)) for file in files))


def _sources(options: LoadOptions, project: Project) -> list[Source]:
    pipelines = (file for pipeline in project_pipelines(options).values() for file in pipeline.files)
    return sources(tuple(dict.fromkeys((*compose_files(options), *pipelines))), project.directory)


def _nodes(every: Sequence[Source]) -> Iterator[yaml.Node]:
    """The services of all files, with what they extend, and the files' other sections."""
    for source in every:
        yield source.root
    for layer in _layers(every):
        yield layer.node


def _layers(every: Sequence[Source]) -> Iterator[Layer]:
    """What the files say of each service, and those that it extends."""
    for name in {key.value: None for source in every for key, _ in fields(field(source.root, "services"))}:
        yield from service_layers(name, every)


def _alone(node: yaml.Node) -> Iterator[str]:
    """The names that stand alone in a service's `environment:` and `build.args`: their value is the shell's."""
    for path in (("environment",), ("build", "args")):
        found = field(node, *path)
        if isinstance(found, yaml.MappingNode):
            yield from (key.value for key, value in fields(found) if value.tag.endswith(":null"))
        else:
            yield from (e.value for e in items(found) if isinstance(e, yaml.ScalarNode) and "=" not in e.value)


def _env_files(options: LoadOptions, project: Project, every: Sequence[Source]) -> Iterator[Path]:
    """The env files of the project, of what it includes, and of its services: Compose tells the names of these."""
    yield from project_env_files(options, project.directory, os.environ)
    for source in every:
        yield from source.env_files
    words = replace(options, profiles=("*",)).arguments()
    result = run_compose([*words, "config", "--no-env-resolution", "--no-consistency", "--format", "json"])
    services = json.loads(result.stdout).get("services", {}) if result.returncode == 0 else {}
    for service in services.values():
        yield from (Path(entry["path"].replace("$$", "$")) for entry in service.get("env_file") or ())
