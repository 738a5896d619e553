"""The variables that a project's files read from the shell: where they are set, the files mean the same."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from gigogne.compose.envfiles import env_file_lines, project_env_files
from gigogne.compose.interpolation import references
from gigogne.compose.layers import Source, service_layers, sources
from gigogne.compose.load import LoadOptions, compose_files
from gigogne.compose.nodes import field, fields, items, scalars
from gigogne.core.model import Project

__all__ = ["referenced_variables"]


def referenced_variables(options: LoadOptions, project: Project) -> frozenset[str]:
    """Their names, set or not: those in `${…}`, those that stand alone, those of secrets and configs.

    Compose files with what they include and extend, the services' env files, and `.env` are looked at; services of
    profiles that are not switched on too.
    """
    every = sources(compose_files(options), project.directory)
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


def _nodes(every: Sequence[Source]) -> Iterator[yaml.Node]:
    """The services of all files, with what they extend, and the files' other sections."""
    for source in every:
        yield source.root
    for name in {key.value: None for source in every for key, _ in fields(field(source.root, "services"))}:
        for layer in service_layers(name, every):
            yield layer.node


def _alone(node: yaml.Node) -> Iterator[str]:
    """The names that stand alone in a service's `environment:` and `build.args`: their value is the shell's."""
    for path in (("environment",), ("build", "args")):
        found = field(node, *path)
        if isinstance(found, yaml.MappingNode):
            yield from (key.value for key, value in fields(found) if value.tag.endswith(":null"))
        else:
            yield from (e.value for e in items(found) if isinstance(e, yaml.ScalarNode) and "=" not in e.value)


def _env_files(options: LoadOptions, project: Project, every: Sequence[Source]) -> Iterator[Path]:
    yield from project_env_files(options, project.directory, os.environ)
    for source in every:
        yield from source.env_files
        for _, service in fields(field(source.root, "services")):
            for entry in items(field(service, "env_file")):
                path = field(entry, "path") if isinstance(entry, yaml.MappingNode) else entry
                if isinstance(path, yaml.ScalarNode):
                    yield source.directory / path.value
