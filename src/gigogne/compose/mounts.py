"""The chain of paths of each mount: the line that asks for it, the path on this machine, what is there, the target."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import yaml

from gigogne.compose.evaluation import as_node, evaluate, mapping
from gigogne.compose.explanation import MountPath
from gigogne.compose.layers import Layer, Source, discards_lower
from gigogne.compose.locate import Location
from gigogne.compose.nodes import field, items
from gigogne.core.model import DELIVERED, Mount, MountType, Project, Service

__all__ = ["mount_paths"]

_ORIGINS = ("file", "environment", "content")
_MOST_ENTRIES = 10_000


@dataclass(frozen=True, slots=True)
class _Line:
    """A line that asks for a mount: what it is (`volumes`, `tmpfs`, `secrets` …), its place and its text."""

    section: str
    where: Location
    text: str


def mount_paths(
    project: Project,
    service: Service,
    layers: Sequence[Layer],
    every: Sequence[Source],
    env_files: Sequence[Path],
    place: Callable[[Mount], Path | None],
    outside: Callable[[str], Sequence[str]],
) -> tuple[MountPath, ...]:
    """The mounts of a service: volumes, tmpfs, secrets and configs. `env_files` feed `${…}`, the winning one first."""
    lines = _volume_lines(project, layers, env_files)
    for target, line in _delivered(service, every):
        lines[target] = [line]
    others = {
        target: chain[0]
        for target, chain in lines.items()
        if chain[0].section in DELIVERED and not chain[0].text.startswith("file: ")
    }
    mounts = [mount for mount in service.mounts if mount.target not in others]
    found = [
        replace(
            _path(project, service, mount, lines.get(mount.target, ()), place(mount)),
            outside=tuple(outside(mount.source)) if mount.type is MountType.BIND else (),
        )
        for mount in mounts
    ]
    return (*found, *_not_of_files(others, project, env_files))


def _volume_lines(project: Project, layers: Sequence[Layer], env_files: Sequence[Path]) -> dict[str, list[_Line]]:
    """The lines of `volumes:` and `tmpfs:` by the target that Compose reads in each, the winner first."""
    written: list[tuple[str, yaml.Node, Layer]] = []
    for key in ("volumes", "tmpfs"):
        for layer in layers:
            node = field(layer.node, key)
            written += [(key, entry, layer) for entry in reversed(items(node))]
            if node is not None and discards_lower(node):
                break
    asked = {
        str(number): mapping(
            {"image": as_node("x"), key: yaml.SequenceNode("tag:yaml.org,2002:seq", [entry], flow_style=True)}
        )
        for number, (key, entry, _) in enumerate(written)
    }
    answers = evaluate(asked, project, env_files)
    found: dict[str, list[_Line]] = {}
    for number, (key, entry, layer) in enumerate(written):
        for made in answers.get(str(number), {}).get(key) or ():
            target = made["target"] if isinstance(made, Mapping) else made.partition(":")[0]
            found.setdefault(target, []).append(_Line(key, layer.at(entry), _written(entry)))
    return found


def _written(entry: yaml.Node) -> str:
    """The text of an entry; of the long form, its source."""
    node = entry if isinstance(entry, yaml.ScalarNode) else field(entry, "source")
    return node.value if node is not None else ""


def _path(project: Project, service: Service, mount: Mount, lines: Sequence[_Line], place: Path | None) -> MountPath:
    kind, source, problem = str(mount.type), mount.source, ""
    if mount.type is MountType.VOLUME:
        kind = "volume" if mount.source else "anonymous volume"
        source = project.volumes.get(mount.source, mount.source)
        content = "" if place is None else _content(place) or "not made yet"
    elif mount.type is MountType.BIND:
        content, problem = _on_disk(Path(mount.source), mount, service)
    else:
        content = "empty at each start" if mount.type is MountType.TMPFS else ""
    return MountPath(
        kind=lines[0].section.removesuffix("s") if lines and lines[0].section in DELIVERED else kind,
        written=lines[0].text if lines else "",
        where=lines[0].where if lines else None,
        source=source,
        place=place,
        target=mount.target,
        read_only=mount.read_only,
        content=content,
        problem=problem,
        overrides=tuple(line.where for line in lines[1:]),
    )


def _on_disk(path: Path, mount: Mount, service: Service) -> tuple[str, str]:
    """What a bind mount finds on this machine, and what is wrong with it."""
    content = _content(path)
    named_as_file = bool(PurePosixPath(mount.target).suffix)
    if not content:
        does = "Docker makes an empty directory of it" if mount.create_host_path else "the service does not start"
        return "not there", f"{path} does not exist: {does}; correct the path, or make it"
    if path.is_dir() and content == "empty" and named_as_file:
        # Docker makes a directory of a path that is not there; a full one is no accident (a Parquet dataset, conf.d).
        what = f"{path} is an empty directory, and the target looks like a file"
        return content, f"{what}: remove it (an earlier mount may have made it), and put the file there"
    if path.is_dir() and content == "empty":
        return content, f"{path} is an empty directory: the service sees no files at {mount.target}"
    if path.is_file() and (mount.target.endswith("/") or mount.target == service.working_dir):
        return content, f"{path} is a file, and {mount.target} is a directory: mount it at a path of its own"
    return content, ""


def _content(path: Path) -> str:
    """What is at a path, in words; empty when there is nothing."""
    try:
        status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            return f"a file of {status.st_size:,} bytes" if stat.S_ISREG(status.st_mode) else "a device or socket"
        with os.scandir(path) as entries:
            count = sum(1 for _, _ in zip(entries, range(_MOST_ENTRIES), strict=False))
    except PermissionError:
        return "cannot be read by you"
    except OSError:
        return ""
    more = "more than " if count == _MOST_ENTRIES else ""
    return f"{more}{count:,} entries" if count > 1 else "1 entry" if count else "empty"


def _delivered(service: Service, every: Sequence[Source]) -> Iterator[tuple[str, _Line]]:
    """Secrets and configs by target. Of an inline one only that it is inline: its content may be a secret."""
    for section, folder in DELIVERED.items():
        for entry in service.raw.get(section) or ():
            target = str(PurePosixPath(folder, entry.get("target") or entry["source"]))
            for source in every:
                node = field(source.root, section, entry["source"])
                found = [(key, value) for key in _ORIGINS if (value := field(node, key)) is not None]
                if found:
                    key, value = found[0]
                    text = "content" if key == "content" else f"{key}: {getattr(value, 'value', '')}"
                    yield target, _Line(section, Location(source.file, value.start_mark.line + 1), text)
                    break


def _not_of_files(others: Mapping[str, _Line], project: Project, env_files: Sequence[Path]) -> Iterator[MountPath]:
    """Secrets and configs that come from a variable or from inline text, by target."""
    names = {line.text.partition(": ")[2] for line in others.values() if line.text.startswith("environment: ")}
    asked = {"names": as_node({"image": "x", "environment": sorted(names)})} if names else {}
    values = evaluate(asked, project, env_files).get("names", {}).get("environment") or {}
    for target, line in others.items():
        kind, name = line.section.removesuffix("s"), line.text.removeprefix("environment: ")
        content, problem = "inline text", ""
        if line.text.startswith("environment: "):
            content = "set" if values.get(name) else "not set" if values.get(name) is None else "empty"
            problem = "" if values.get(name) else f"set {name} in the shell or in .env"
        yield MountPath(kind, line.text, line.where, "", None, target, True, content, problem)
