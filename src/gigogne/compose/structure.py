"""What the files alone say of a project, with no variable set: for whoever must know its shape and none of its values.

Docker Compose merges the files without interpolating them, and reads no env file. What is left as text there (a
command, `${PORT}:80`) is read here as far as it tells jobs from servers.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from gigogne.compose.binary import run_compose
from gigogne.compose.dockerfile import dockerfile_healthcheck
from gigogne.compose.envfiles import env_file_lines
from gigogne.compose.interpolation import with_defaults
from gigogne.compose.layers import Layer, Source, service_layers, sources
from gigogne.compose.locate import Location, compose_error
from gigogne.compose.nodes import field, fields, items
from gigogne.compose.options import LoadOptions, compose_files, settled
from gigogne.compose.pipelines import unknown_target
from gigogne.core.graph import KIND_LABEL
from gigogne.core.model import Build, Condition, Dependency, Healthcheck, Kind, Port, Project, Service
from gigogne.errors import ComposeError

__all__ = ["Structure", "load_structure"]

_DESCRIPTIONS = ("gigogne.description", "org.opencontainers.image.description")
# A line of YAML that somebody has switched off, and no prose.
_DISABLED = re.compile(r"- |[\w.-]+:(\s|$)")


@dataclass(frozen=True)
class Structure:
    """The shape of a project.

    Attributes:
        project: Its services as far as their names, kinds, edges and labels go. Environment and mounts are left out.
        profiles: The profiles that are switched on.
        sources: The Compose files, with those that they include, the winning one first.
        layers: What each file says of each service.
        read: The files that were looked at, there or not: while these stay the same, so does the structure.
    """

    project: Project
    profiles: tuple[str, ...]
    sources: Sequence[Source]
    layers: Mapping[str, Sequence[Layer]]
    read: tuple[Path, ...]

    def place(self, service: str, *keys: str) -> Location:
        """Where a key of a service stands, else the service."""
        layers = self.layers.get(service, ())
        for layer in layers:
            if (line := _line(layer.node, keys)) is not None:
                return Location(layer.source.file, line)
        return layers[0].at(layers[0].node) if layers else Location(self.project.files[0])

    def documentation(self) -> dict[str, str]:
        """What there is to read of each service: the README beside its Dockerfile, its description, or its comment."""
        comments = _comments(self.layers)
        return {name: self._document(name) or comments.get(name, "") for name in self.project.services}

    def _document(self, service: str) -> str:
        readme = _readme(self.project.services[service], self.project.directory)
        if readme and readme.is_file():
            return readme.read_text(encoding="utf-8", errors="replace").strip()
        labels = self.project.services[service].labels
        return next((labels[name] for name in _DESCRIPTIONS if labels.get(name)), "")


def load_structure(
    options: LoadOptions, targets: Sequence[str] = (), places: Mapping[str, Location] | None = None
) -> Structure:
    """The structure of the project of these files, with the profiles of `targets` switched on.

    Args:
        options: The files.
        targets: Services.
        places: Where those of the targets are listed that nobody has typed.

    Raises:
        ComposeError: Compose refuses the files, or they contradict themselves; with file and line.
        EngineError: The Compose binary is missing.
    """
    options = settled(options)
    files = compose_files(options)
    bare = replace(options, env_files=(os.devnull,))
    said = run_compose([*bare.arguments(), "config", "--format", "json", "--no-interpolate", "--no-env-resolution"])
    if said.returncode != 0:
        raise _refusal(said.stderr, files)
    model = _with_defaults(json.loads(said.stdout))
    every: dict[str, Any] = model.get("services") or {}
    for name in targets:
        if name not in every:
            raise unknown_target(name, every, model.get("x-gigogne") or {}, places or {})
    wanted = (profile for name in targets for profile in every[name].get("profiles") or ())
    profiles = tuple(dict.fromkeys((*options.profiles, *wanted)))
    services = {name: _service(name, raw) for name, raw in every.items() if _is_on(raw, profiles)}
    directory = Path(options.directory).absolute() if options.directory else files[0].parent
    project = Project(str(model.get("name", "")), directory, files, services, extension=model.get("x-gigogne") or {})
    found = sources(files, directory)
    layers = {name: service_layers(name, found) for name in services}
    structure = Structure(project, profiles, found, layers, _read(project, found, layers))
    _check(structure)
    return structure


def _refusal(stderr: str, files: Sequence[Path]) -> ComposeError:
    error = compose_error(stderr, files)
    if "${" in error.message and "does not exist" in error.message:
        hint = "here no variable is set: name the file that include or extends means without ${…}"
        return ComposeError(error.message, hint)
    return error


def _is_on(raw: Mapping[str, Any], profiles: Sequence[str]) -> bool:
    named = raw.get("profiles") or ()
    return not named or "*" in profiles or not set(profiles).isdisjoint(named)


def _check(structure: Structure) -> None:
    """What Compose looks at only when it has interpolated the files: what services need, and circles."""
    services, files = structure.project.services, structure.project.files
    for service in services.values():
        if service.labels.get(KIND_LABEL, Kind.JOB) not in set(Kind):
            place, kind = structure.place(service.name, "labels", KIND_LABEL), service.labels[KIND_LABEL]
            raise ComposeError(f"{place}: the label {KIND_LABEL} is {kind!r}", "write job or server, or remove it")
        if not service.image and service.build is None:
            raise compose_error(f'service "{service.name}" has neither an image nor a build context', files)
        for needed in service.depends_on:
            if needed.required and needed.service not in services:
                raise compose_error(f'service "{service.name}" depends on undefined service "{needed.service}"', files)
    try:
        TopologicalSorter({name: [d.service for d in s.depends_on] for name, s in services.items()}).prepare()
    except CycleError as error:
        raise compose_error(f"dependency cycle detected: {' -> '.join(reversed(error.args[1]))}", files) from None


def _with_defaults(value: Any) -> Any:
    """The model as it is where no variable is set."""
    if isinstance(value, str):
        return with_defaults(value) if "$" in value else value
    if isinstance(value, dict):
        return {key: _with_defaults(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_defaults(inner) for inner in value]
    return value


def _service(name: str, raw: Mapping[str, Any]) -> Service:
    """What tells a job from a server, the edges and the labels."""
    service = Service(
        name=name,
        image=raw.get("image") or "",
        build=_build(raw["build"]) if raw.get("build") else None,
        command=_words(raw.get("command")),
        entrypoint=_words(raw.get("entrypoint")),
        ports=tuple(Port(0) for _ in raw.get("ports") or ()),
        expose=tuple(map(str, raw.get("expose") or ())),
        depends_on=tuple(
            Dependency(key, Condition(value["condition"]), bool(value.get("required", True)))
            for key, value in (raw.get("depends_on") or {}).items()
        ),
        healthcheck=_healthcheck(raw["healthcheck"]) if raw.get("healthcheck") else None,
        restart=raw.get("restart") or "no",
        labels=_label_files(raw) | _labels(raw.get("labels") or {}),
        profiles=tuple(raw.get("profiles") or ()),
        raw={key: raw[key] for key in ("healthcheck", "label_file", "stdin_open", "tty") if key in raw},
    )
    if service.build is None or service.healthcheck is not None:
        return service
    return replace(service, healthcheck=dockerfile_healthcheck(service.build))


def _build(raw: Mapping[str, Any]) -> Build:
    context, inline = Path(raw.get("context") or "."), raw.get("dockerfile_inline")
    file = None if inline is not None else context / (raw.get("dockerfile") or "Dockerfile")
    return Build(context=context, dockerfile=file, dockerfile_inline=inline, target=raw.get("target"))


def _words(value: Any) -> tuple[str, ...] | None:
    """A command, which is still text where the file has it so."""
    if isinstance(value, str):
        try:
            return tuple(shlex.split(value))
        except ValueError:  # an open quote, which Compose names when it runs
            return (value,)
    return None if value is None else tuple(map(str, value))


def _healthcheck(raw: Mapping[str, Any]) -> Healthcheck:
    test = raw.get("test") or ()
    words = ("CMD-SHELL", test) if isinstance(test, str) else tuple(map(str, test))
    is_off = str(raw.get("disable", "")).lower() == "true" or words[:1] == ("NONE",)
    return Healthcheck(test=() if is_off else words)


def _labels(raw: Mapping[str, Any] | Sequence[str]) -> dict[str, str]:
    """The labels, which the file may have as a list."""
    if isinstance(raw, Mapping):
        return {name: "" if value is None else str(value) for name, value in raw.items()}
    return {name: value for name, _, value in (str(entry).partition("=") for entry in raw)}


def _label_files(raw: Mapping[str, Any]) -> dict[str, str]:
    """The labels of `label_file`, which Compose leaves unread together with the env files."""
    found: dict[str, str] = {}
    for file in raw.get("label_file") or ():
        found |= {name: line.text.strip('"') for name, line in env_file_lines(Path(file)).items()}
    return found


def _line(node: yaml.Node, keys: Sequence[str]) -> int | None:
    """The line of a key below a node, where mappings may be lists of names or of NAME=value; None without it."""
    line = None
    for name in keys:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in fields(node) if key.value == name), None)
        else:
            entries = (entry for entry in items(node) if isinstance(entry, yaml.ScalarNode))
            found = next(((entry, entry) for entry in entries if entry.value.partition("=")[0] == name), None)
        if found is None:
            return None
        key, node = found
        line = key.start_mark.line + 1
    return line


def _readme(service: Service, directory: Path) -> Path | None:
    """The README of the component; the one of the whole project is of no single service."""
    folder = service.build.dockerfile.parent if service.build and service.build.dockerfile else directory
    return folder / "README.md" if folder.resolve() != directory.resolve() else None


def _comments(layers: Mapping[str, Sequence[Layer]]) -> dict[str, str]:
    """The comment above each service, from the winning file that has one; only prose, no lines switched off."""
    texts: dict[Path, list[str]] = {}
    places: dict[int, int] = {}
    found: dict[str, str] = {}
    for service, each in layers.items():
        for layer in each:
            file = layer.source.file
            if file not in texts:
                texts[file] = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
                pairs = fields(field(layer.source.root, "services"))
                places |= {id(value): key.start_mark.line for key, value in pairs}
            comment = _comment_above(texts[file], places.get(id(layer.node), 0))
            if comment:
                found.setdefault(service, comment)
    return found


def _comment_above(lines: Sequence[str], number: int) -> str:
    found: list[str] = []
    while number > 0 and lines[number - 1].lstrip().startswith("#"):
        number -= 1
        found.insert(0, lines[number].lstrip().lstrip("#").strip())
    return "" if any(map(_DISABLED.match, found)) else "\n".join(found).strip()


def _read(project: Project, found: Sequence[Source], layers: Mapping[str, Sequence[Layer]]) -> tuple[Path, ...]:
    """The Compose files with what they include and extend, the label files, the Dockerfiles and the READMEs."""

    def files() -> Iterator[Path]:
        yield from project.files
        yield from (source.file for source in found)
        yield from (layer.source.file for each in layers.values() for layer in each)
        for service in project.services.values():
            yield from map(Path, service.raw.get("label_file") or ())
            if service.build and service.build.dockerfile:
                yield service.build.dockerfile
            if readme := _readme(service, project.directory):
                yield readme

    return tuple(dict.fromkeys(files()))
