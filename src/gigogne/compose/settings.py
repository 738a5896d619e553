"""The lines of `environment:` that set the variables of a service, what each alone would give, and what feeds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from gigogne.compose.envfiles import Line, env_file_lines
from gigogne.compose.evaluation import as_node, evaluate, mapping
from gigogne.compose.explanation import Feed, FeedKind, Form, Setting, SettingKind
from gigogne.compose.host_container import HostContainer
from gigogne.compose.interpolation import references, uses
from gigogne.compose.layers import Layer, discards_lower
from gigogne.compose.locate import Location
from gigogne.compose.nodes import field as field_of
from gigogne.compose.nodes import fields, items
from gigogne.core.model import Project

__all__ = ["EnvFiles", "Written", "env_file_service", "environment_lines", "environment_settings"]


@dataclass(frozen=True, slots=True)
class Written:
    """A line of `environment:`. Without a `node` it is a name alone, passed through. `env_files` are its include's."""

    name: str
    node: yaml.ScalarNode | None
    where: Location
    env_files: tuple[Path, ...]

    @property
    def text(self) -> str:
        """The value as it is written."""
        return self.node.value if self.node else ""


@dataclass(frozen=True, slots=True)
class EnvFiles:
    """Env files that feed `${…}`: what Compose reads from each, and on which line; and the shell that they yield to.

    `host_container` is the one in which this shell is.
    """

    values: Mapping[Path, Mapping[str, str]] = field(repr=False)
    lines: Mapping[Path, Mapping[str, Line]]
    shell: Mapping[str, str] = field(repr=False)
    host_container: HostContainer | None = None

    @classmethod
    def read(cls, files: Sequence[Path], project: Project, shell: Mapping[str, str]) -> EnvFiles:
        """Read them: the values by Compose, the lines here."""
        asked = {str(number): env_file_service([{"path": str(file)}]) for number, file in enumerate(files)}
        found = evaluate(asked, project)
        values = {
            file: {name: value for name, value in _environment(found, str(number)).items() if value is not None}
            for number, file in enumerate(files)
        }
        return cls(values, {file: env_file_lines(file) for file in files}, shell, HostContainer.of(shell))

    def where(self, file: Path, name: str) -> Location:
        """The line of a variable in one of the files."""
        line = self.lines[file].get(name)
        return Location(file, line.number if line else None)

    def feed(self, name: str, files: Sequence[Path], value: str | None, taken: str = "") -> Feed:
        """Where Compose finds a variable, when it looks in the shell and then in these files."""
        places = tuple(self.where(file, name) for file in files if name in self.values[file])
        if name in self.shell:
            from_outside = self.host_container is not None and self.host_container.passes(name)
            return Feed(name, FeedKind.HOST_CONTAINER if from_outside else FeedKind.SHELL, None, taken, places)
        if places:
            return Feed(name, FeedKind.FILE, places[0], taken, places[1:])
        return Feed(name, FeedKind.UNSET if value is None else FeedKind.COMPOSE, None, taken)


def env_file_service(entries: Sequence[Mapping[str, object]]) -> yaml.Node:
    """A service that has these env files and nothing else."""
    return as_node({"image": "x", "env_file": list(entries)})


def environment_lines(layers: Sequence[Layer]) -> dict[str, list[Written]]:
    """For each name the lines that set it, the winner first."""
    found: dict[str, list[Written]] = {}
    closed: set[str] = set()
    for layer in layers:
        node = field_of(layer.node, "environment")
        if node is None:
            continue
        for name, value, at in _entries(node):
            if name in closed:
                continue
            if value is not None and discards_lower(value):
                closed.add(name)
            if value is None or value.tag != "!reset":
                # In the map form, Compose does not look for a name alone in the env file of an include.
                blind = value is None and isinstance(node, yaml.MappingNode)
                env_files = () if blind else layer.source.env_files
                found.setdefault(name, []).append(Written(name, value, layer.at(at), env_files))
        if discards_lower(node):
            break
    return found


def _entries(node: yaml.Node) -> Iterator[tuple[str, yaml.ScalarNode | None, yaml.Node]]:
    """Name, value and place of each entry of the map or the list form, the winner first."""
    if isinstance(node, yaml.MappingNode):
        for key, value in fields(node):
            if isinstance(value, yaml.ScalarNode):
                yield key.value, None if value.tag.endswith(":null") else value, key
        return
    for entry in reversed(items(node)):
        if isinstance(entry, yaml.ScalarNode):
            name, sign, text = entry.value.partition("=")
            yield name, yaml.ScalarNode("tag:yaml.org,2002:str", text, style='"') if sign else None, entry


def environment_settings(
    lines: Mapping[str, Sequence[Written]],
    project: Project,
    project_files: Sequence[Path],
    env_files: EnvFiles,
    pool: Executor,
) -> dict[str, list[Setting]]:
    """The lines with what each gives. Lines of an included file are interpolated with its own env files too."""
    groups: dict[tuple[Path, ...], list[Written]] = {}
    for written in (written for chain in lines.values() for written in chain):
        groups.setdefault((*project_files, *written.env_files), []).append(written)
    made: dict[int, Setting] = {}
    for answer in pool.map(lambda group: _group(group[1], project, group[0], env_files), groups.items()):
        made |= answer
    return {name: [made[id(written)] for written in chain] for name, chain in lines.items()}


def _group(
    group: Sequence[Written], project: Project, files: tuple[Path, ...], env_files: EnvFiles
) -> dict[int, Setting]:
    """Settings by the identity of their line."""
    texts = {str(number): written.node for number, written in enumerate(group) if written.node is not None}
    asked: dict[str, yaml.Node] = {"texts": mapping({"image": as_node("x"), "environment": mapping(texts)})}
    read = {ref.name for written in group for outer in references(written.text) for ref in outer.walk()}
    names = sorted(read | {written.name for written in group if written.node is None})
    asked["names"] = as_node({"image": "x", "environment": names})
    found = evaluate(asked, project, files)
    values, variables = _environment(found, "texts"), _environment(found, "names")
    made = {}
    for number, written in enumerate(group):
        if written.node is None:
            value = variables.get(written.name)
            feeds: tuple[Feed, ...] = (env_files.feed(written.name, files, value),)
        else:
            value = values.get(str(number))
            feeds = tuple(
                env_files.feed(use.name, files, variables.get(use.name), use.taken)
                for use in dict.fromkeys(uses(written.text, variables.get))
            )
        form = Form.PASSED if written.node is None else Form.INTERPOLATED if feeds else Form.LITERAL
        made[id(written)] = Setting(SettingKind.ENVIRONMENT, form, written.where, value, feeds)
    return made


def _environment(found: Mapping[str, Mapping[str, object]], service: str) -> dict[str, str | None]:
    environment = found.get(service, {}).get("environment")
    return dict(environment) if isinstance(environment, dict) else {}
