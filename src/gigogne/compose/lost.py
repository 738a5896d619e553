"""What was set and does not reach the service: the commonest reason why credentials do not arrive."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from gigogne.compose.dockerfile import dockerfile_variables
from gigogne.compose.envfiles import env_file_lines
from gigogne.compose.explanation import FeedKind, Lost, SettingKind, Variable
from gigogne.compose.interpolation import references
from gigogne.compose.layers import Layer, Source, dockerfile_place
from gigogne.compose.locate import Location
from gigogne.compose.nodes import field as field_of
from gigogne.compose.nodes import fields, items, scalars
from gigogne.compose.settings import EnvFiles
from gigogne.core.model import Service

__all__ = ["Evidence", "lost_variables"]

# These speak to Compose and to Docker, not to a service.
_NOT_FOR_SERVICES = ("COMPOSE_", "DOCKER_", "BUILDKIT_", "BUILDX_")


@dataclass(frozen=True)
class Evidence:
    """What is known of a service.

    `feeding` are the project's env files, `entries` those of the service; `unset` are the variables that Compose finds
    nowhere, and takes for empty.
    """

    service: Service
    variables: Sequence[Variable]
    layers: Sequence[Layer]
    every: Sequence[Source]
    feeding: Sequence[Path]
    env_files: EnvFiles = field(repr=False)
    entries: Sequence[Mapping[str, Any]] = ()
    unset: Collection[str] = ()

    @cached_property
    def known(self) -> dict[str, Variable]:
        """The variables by name."""
        return {variable.name: variable for variable in self.variables}

    @cached_property
    def read(self) -> frozenset[str]:
        """The names that some key of the service reads from the shell or from `.env`."""
        found = set[str]().union(*map(_read_by, self.layers))
        texts: list[str] = []
        for source in self.every:
            nodes = [value for key, value in fields(source.root) if key.value != "services"]
            texts += [text for node in nodes for text in scalars(node)]
        for entry in self.entries:
            for name, line in env_file_lines(Path(entry["path"]), raw=entry.get("format") == "raw").items():
                texts.append(line.text)
                found |= {name} if line.passed else set()
        for source in self.every:
            for _, value in fields(field_of(source.root, "secrets")) + fields(field_of(source.root, "configs")):
                found |= {node.value for node in [field_of(value, "environment")] if node is not None}
        return frozenset(found | _names(texts))

    @cached_property
    def read_by_others(self) -> frozenset[str]:
        """The names that some service reads."""
        services = [Layer(s, node) for s in self.every for _, node in fields(field_of(s.root, "services"))]
        return frozenset(set[str]().union(*map(_read_by, services)))


def lost_variables(evidence: Evidence) -> tuple[Lost, ...]:
    """Everything that is set and does not arrive."""
    return (
        *_of_env_files(evidence),
        *_of_shell(evidence),
        *_without_value(evidence),
        *_of_host_container(evidence),
        *_build_arguments(evidence),
    )


def _of_env_files(evidence: Evidence) -> Iterator[Lost]:
    files = (*evidence.feeding, *(f for layer in evidence.layers for f in layer.source.env_files))
    seen: dict[str, Location] = {}
    for file in dict.fromkeys(files):
        for name, value in evidence.env_files.values[file].items():
            if name.startswith(_NOT_FOR_SERVICES):
                continue
            where = evidence.env_files.where(file, name)
            winner = seen.setdefault(name, where)
            found = _lost_line(evidence, name, value, where, winner)
            if found is not None:
                yield found


def _lost_line(evidence: Evidence, name: str, value: str, where: Location, winner: Location) -> Lost | None:
    """Why a line of an env file that feeds `${…}` does not arrive; None where it does."""
    shell = evidence.env_files.shell
    if name in evidence.read:
        if name in shell and shell[name] != value:
            how = "" if shell[name] else ", to an empty value"
            reason = f"the shell sets it too{how}, and the shell wins"
            return Lost(name, where, reason, f"unset {name} in the shell, or set it there", value)
        if name not in shell and winner != where:
            return Lost(name, where, f"{winner} sets it too, and wins", "keep one of the two lines", value)
        return None
    variable = evidence.known.get(name)
    if variable is not None and variable.settings[0].kind is not SettingKind.IMAGE:
        first = variable.settings[0].where
        if variable.value == value or any(s.where == where for s in variable.settings):
            return None
        reason = f"{first or 'another line'} sets it and does not read this one"
        return Lost(name, where, reason, _read_it(variable, variable.settings[0].kind), value)
    reason = "only other services refer to it"
    if name not in evidence.read_by_others:
        reason = "no key of this service refers to it: this file feeds ${…} in the Compose files, it is not passed on"
    return Lost(name, where, reason, f"add `- {name}` to environment:, or `env_file: {where.file.name}`", value)


def _read_it(variable: Variable, kind: SettingKind) -> str:
    """How to write the line that wins, so that it reads the shell and `.env`."""
    if kind is SettingKind.ENV_FILE:
        return f"write {variable.name} alone on that line, without `=`, or `- {variable.name}` in environment:"
    return f"write {variable.name}: ${{{variable.name}}} there"


def _of_shell(evidence: Evidence) -> Iterator[Lost]:
    """Variables of the shell whose name a line of the files sets to something else."""
    for variable in evidence.variables:
        winner, value = variable.settings[0], evidence.env_files.shell.get(variable.name)
        if value is None or value == variable.value or winner.kind is SettingKind.IMAGE:
            continue
        if all(feed.name != variable.name for feed in winner.feeds):
            reason = f"{winner.where or 'a Compose file'} sets it and does not read the shell's"
            yield Lost(variable.name, None, reason, _read_it(variable, winner.kind), value)


def _without_value(evidence: Evidence) -> Iterator[Lost]:
    """Names that are passed through, and that nothing sets."""
    for variable in evidence.variables:
        winner = variable.settings[0]
        if variable.value is None and any(feed.kind is FeedKind.UNSET for feed in winner.feeds):
            hidden = [str(s.where or s.kind) for s in variable.settings[1:] if s.value is not None]
            reason, hint = _not_set(evidence, variable.name)
            blind = [file for layer in evidence.layers for file in layer.source.env_files]
            blind = [file for file in blind if variable.name in evidence.env_files.values[file]]
            if blind:
                where = evidence.env_files.where(blind[0], variable.name)
                reason = f"Compose does not look into {where} for a name alone in a map"
                hint = f"write {variable.name}: ${{{variable.name}}} there"
            reason += f"; the name alone hides {', '.join(hidden)}" if hidden else ""
            hint += ", or remove the line" if hidden else ""
            yield Lost(variable.name, winner.where, f"it is passed through, and {reason}", hint)
    for entry in evidence.entries:
        file = Path(entry["path"])
        for name, line in env_file_lines(file, raw=entry.get("format") == "raw").items():
            if line.passed and name not in evidence.known:
                reason, fix = _not_set(evidence, name)
                yield Lost(name, Location(file, line.number), f"it has no value there, and {reason}", fix)


def _not_set(evidence: Evidence, name: str) -> tuple[str, str]:
    """Why Compose finds no value for a name, and what to do about it."""
    if evidence.env_files.host_container:
        return evidence.env_files.host_container.loss(name)
    return "neither the shell nor an env file sets it", "set it in the shell or in .env"


def _of_host_container(evidence: Evidence) -> Iterator[Lost]:
    """What `${…}` refers to, and the host container has not: it may well be set in the shell outside."""
    host_container = evidence.env_files.host_container
    if host_container is not None:
        for name in sorted(evidence.read.intersection(evidence.unset)):
            reason, fix = host_container.loss(name)
            yield Lost(name, None, f"it is empty: {reason}", fix, layer=FeedKind.HOST_CONTAINER)


def _build_arguments(evidence: Evidence) -> Iterator[Lost]:
    reason = "a build argument: it is not there at run time"
    places: dict[str, Location | None] = {}
    for layer in evidence.layers:
        for name, node in _arguments(layer):
            places.setdefault(name, layer.at(node))
    for variable in dockerfile_variables(evidence.service.build) if evidence.service.build else ():
        if variable.argument:
            places.setdefault(variable.name, dockerfile_place(evidence.service, evidence.layers, variable.line))
    for name, where in places.items():
        if name not in evidence.known:
            yield Lost(name, where, reason, f"write ENV {name}=… in the Dockerfile, or add it to environment:")


def _arguments(layer: Layer) -> Iterator[tuple[str, yaml.Node]]:
    """Name and place of each entry of `build.args`."""
    node = field_of(layer.node, "build", "args")
    if isinstance(node, yaml.MappingNode):
        yield from ((key.value, key) for key, _ in fields(node))
    else:
        yield from ((entry.value.partition("=")[0], entry) for entry in items(node))


def _read_by(layer: Layer) -> set[str]:
    """The names that a layer refers to, and those that stand alone in its `environment:` and `build.args`."""
    found = _names(scalars(layer.node))
    for path in (("environment",), ("build", "args")):
        node = field_of(layer.node, *path)
        if isinstance(node, yaml.MappingNode):
            found |= {key.value for key, value in fields(node) if value.tag.endswith(":null")}
        else:
            found |= {e.value for e in items(node) if isinstance(e, yaml.ScalarNode) and "=" not in e.value}
    return found


def _names(texts: Iterable[str]) -> set[str]:
    """The variables that texts refer to."""
    return {reference.name for text in texts for outer in references(text) for reference in outer.walk()}
