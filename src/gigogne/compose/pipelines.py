"""The pipelines of a project: files that are merged after its own, and what they run.

`x-gigogne` is Gigogne's own key. It is read here, before Compose reads the files, since it tells which files those are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from gigogne.compose.binary import run_compose
from gigogne.compose.envfiles import project_env_files
from gigogne.compose.layers import Source, discards_lower, service_layers, sources
from gigogne.compose.locate import Location, compose_error
from gigogne.compose.nodes import field, fields, items, read_yaml, scalars
from gigogne.compose.options import LoadOptions, compose_files, settled
from gigogne.compose.selection import Selection, is_near_miss
from gigogne.core.graph import unknown_service
from gigogne.core.suggestion import did_you_mean
from gigogne.errors import ComposeError

__all__ = ["Pipeline", "project_pipelines", "selected", "unknown_target"]

_KEY = "x-gigogne"
_KEYS = ("run", "up", "pipelines")


@dataclass(frozen=True, slots=True)
class Pipeline:
    """An entry of `x-gigogne.pipelines`.

    Attributes:
        name: Its name.
        where: The place of the entry.
        files: Its files, merged in this order after the project's own.
    """

    name: str
    where: Location
    files: tuple[Path, ...]


def project_pipelines(options: LoadOptions) -> Mapping[str, Pipeline]:
    """The pipelines of the project of these files, by their names.

    Raises:
        ComposeError: `x-gigogne` is misspelt, has an unknown key, or its pipelines are malformed, or one has the name
            of a service; with file and line.
    """
    files = compose_files(options)
    found = _pipelines(_roots(options, files))
    services = _stated((source.file, source.root) for source in _sources(options, files)) if found else {}
    for name, pipeline in found.items():
        if name in services:
            raise ComposeError(
                f"{pipeline.where}: the pipeline {name} has the name of a service ({services[name]})",
                "rename one of them: in x-gigogne.run the name could mean both",
            )
    return found


def selected(
    options: LoadOptions, files: Sequence[Path], services: Sequence[str], pipelines: Sequence[str]
) -> Selection:
    """What is meant by services and pipelines; by neither, what `x-gigogne.run` lists.

    Raises:
        ComposeError: There is no such pipeline, or what `x-gigogne` says is wrong; with file and line.
    """
    known = project_pipelines(options)
    listed = {} if services or pipelines else _listed(_roots(options, files), "run")
    chosen = [_known(name, known) for name in pipelines] + [known[name] for name in listed if name in known]
    if not chosen and any("$" in name for name in listed):
        return Selection(options)  # Compose interpolates the list
    merged = _merged(options, files, chosen)
    if services:
        return Selection(_with_profiles(merged, services), tuple(services))
    places: dict[str, Location] = {}
    explicit: set[str] = set()
    for name in pipelines or listed:
        run = {name: listed[name]} if name not in known else _listed(_roots(merged, known[name].files), "run")
        _refuse_variables(run)
        explicit |= run.keys()
        for target, place in (run or _all_of(known[name], merged)).items():
            places.setdefault(target, place)
    return Selection(_with_profiles(merged, places), tuple(places), places, frozenset(places.keys() - explicit))


def unknown_target(
    name: str, services: Iterable[str], extension: Mapping[str, Any], places: Mapping[str, Location]
) -> ComposeError:
    """The error of who asks for a service that the project does not have, or lists one."""
    pipelines = [*(extension.get("pipelines") or ())]
    error = unknown_service(name, services)
    if name in places:
        hint = did_you_mean(name, pipelines) or error.hint
        return ComposeError(f"{places[name]}: {_KEY}.run: {error.message}", hint)
    if name in pipelines:
        return ComposeError(f"{name} is a pipeline, and no service", f"name it so: --pipeline {name}")
    return error


_Roots: TypeAlias = Iterable[tuple[Path, yaml.Node]]


def _roots(options: LoadOptions, files: Sequence[Path]) -> list[tuple[Path, yaml.Node]]:
    """The files as YAML. Where one is not to be read, Compose says why; what it can read is left out."""
    found = [(file, root) for file in files if (root := read_yaml(file)) is not None]
    if len(found) < len(files):
        words = ["config", "--quiet", "--no-interpolate", "--no-env-resolution", "--no-consistency"]
        said = run_compose([*options.arguments(), *words])
        if said.returncode != 0:
            raise compose_error(said.stderr, files)
    for file, root in found:
        _refuse_unknown_keys(file, root)
    return found


def _refuse_unknown_keys(file: Path, root: yaml.Node) -> None:
    """Raise where `x-gigogne`, or a key in it, is misspelt: it would be as if it were not there."""
    for key, _ in fields(root):
        if isinstance(key, yaml.ScalarNode) and is_near_miss(key.value):
            raise ComposeError(
                f"{_place(file, key)}: {key.value}: nobody reads this key",
                f"did you mean `{_KEY}`? A key of your own needs a name that is less like it",
            )
    said = field(root, _KEY)
    if items(said) and isinstance(said, yaml.SequenceNode | yaml.ScalarNode):
        raise ComposeError(f"{_place(file, said)}: {_KEY} has no keys", f"write it so: {_KEY}: {{run: [JOB]}}")
    for key, _ in fields(said):
        if key.value not in _KEYS:
            hint = did_you_mean(str(key.value), _KEYS, quote="`") or f"remove it; the keys are: {', '.join(_KEYS)}"
            raise ComposeError(f"{_place(file, key)}: {_KEY}.{key.value}: Gigogne knows no such key", hint)


def _refuse_variables(run: Mapping[str, Location]) -> None:
    """Raise where a list has a `${…}`: which files are merged is known before Compose puts values in."""
    for name, place in run.items():
        if "$" in name:
            raise ComposeError(
                f"{place}: {_KEY}.run: {name}: a list that names a pipeline, or is a pipeline's, has no ${{…}}",
                "write the name of the service; to choose one when you run: gigogne run SERVICE",
            )


def _listed(roots: _Roots, key: str) -> dict[str, Location]:
    """The names of a list of `x-gigogne`, each with its place. The lists of several files are one, as for Compose."""
    found: dict[str, Location] = {}
    for file, root in roots:
        node = field(root, _KEY, key)
        if node is None:
            continue
        if discards_lower(node):
            found.clear()
        if not isinstance(node, yaml.SequenceNode) or not all(isinstance(e, yaml.ScalarNode) for e in node.value):
            raise ComposeError(
                f"{_place(file, node)}: {_KEY}.{key} is not a list of services", f"write it so: {key}: [extractor_sql]"
            )
        for entry in node.value:
            found.setdefault(entry.value, _place(file, entry))
    return found


def _stated(roots: _Roots) -> dict[str, Location]:
    """The services that the files speak of, each with its place."""
    return {key.value: _place(file, key) for file, root in roots for key, _ in fields(field(root, "services"))}


def _all_of(pipeline: Pipeline, options: LoadOptions) -> dict[str, Location]:
    """The services of a pipeline that lists none.

    Raises:
        ComposeError: Its files speak of no service either.
    """
    found = _stated(_roots(options, pipeline.files))
    if not found:
        raise ComposeError(
            f"{pipeline.files[-1]}: the pipeline {pipeline.name} names nothing to run",
            f"list its jobs there, at the top level: {_KEY}: {{run: [JOB]}}",
        )
    return found


def _pipelines(roots: _Roots) -> dict[str, Pipeline]:
    """What the files say of pipelines; of two that say it of one, the later wins."""
    found: dict[str, Pipeline] = {}
    for file, root in roots:
        node = field(root, _KEY, "pipelines")
        if node is None:
            continue
        if not isinstance(node, yaml.MappingNode):
            raise _malformed(_place(file, node))
        for key, value in fields(node):
            where, names = _place(file, key), items(value)
            if not names or not all(isinstance(name, yaml.ScalarNode) and "$" not in name.value for name in names):
                raise _malformed(where, key.value)
            found[key.value] = Pipeline(key.value, where, tuple(file.parent / name.value for name in names))
    return found


def _malformed(where: Location, name: str = "") -> ComposeError:
    key = f"{_KEY}.pipelines.{name}" if name else f"{_KEY}.pipelines"
    what = "names no file (a file's name has no ${…})" if name else "does not say of names which files they are"
    return ComposeError(f"{where}: {key} {what}", "write it so: pipelines: {catalog: pipelines/catalog.yml}")


def _known(name: str, known: Mapping[str, Pipeline]) -> Pipeline:
    """The pipeline of a name, whose files are there."""
    if name not in known:
        hint = did_you_mean(name, known) or (
            f"the pipelines are: {', '.join(sorted(known))}"
            if known
            else f"name its file at the top level of the Compose file: {_KEY}: {{pipelines: {{{name}: FILE}}}}"
        )
        raise ComposeError(f"no pipeline named {name}", hint)
    return known[name]


def _merged(options: LoadOptions, files: Sequence[Path], pipelines: Sequence[Pipeline]) -> LoadOptions:
    """The options with the files of the pipelines after the project's own, which are then all named.

    Raises:
        ComposeError: A file of a pipeline is not there.
    """
    if not pipelines:
        return options
    own = options.files or tuple(map(str, files))
    there, added = {os.path.normpath(file) for file in files}, dict[str, None]()
    for pipeline in pipelines:
        for file in pipeline.files:
            if not file.is_file():
                key = f"{_KEY}.pipelines.{pipeline.name}"
                hint = did_you_mean(file.name, (path.name for path in file.parent.glob("*")), cutoff=0.75)
                raise ComposeError(
                    f"{pipeline.where}: {key}: {file} does not exist", hint or "correct the path, or make the file"
                )
            if os.path.normpath(file) not in there:
                added[str(file)] = None
    merged = replace(options, files=(*own, *added))
    # Who names files has Compose look for `.env` beside them, and no more where one stands.
    directory = _directory(options, files)
    feeding = project_env_files(options, directory, os.environ)
    if project_env_files(merged, directory, os.environ) != feeding:
        merged = replace(merged, env_files=tuple(map(str, reversed(feeding))))
    return merged


def _with_profiles(options: LoadOptions, services: Iterable[str]) -> LoadOptions:
    """The options with the profiles of services switched on, as Compose does it for those that it is given by name.

    The loaders would do it, and have to ask Compose three times for it.
    """
    every, on = _sources(options, compose_files(options)), settled(options).profiles
    wanted = [profile for name in services for profile in _profiles(name, every, on)]
    return replace(options, profiles=tuple(dict.fromkeys((*on, *wanted)))) if wanted else options


def _profiles(service: str, every: Sequence[Source], on: Sequence[str]) -> list[str]:
    """The profiles of a service that is off; none where the files leave it to Compose to say."""
    found: list[str] = []
    for layer in service_layers(service, every):
        node = field(layer.node, "profiles")
        found += scalars(node)
        if node is not None and discards_lower(node):
            break
    is_on = "*" in on or not set(on).isdisjoint(found)
    return [] if is_on or any("$" in profile for profile in found) else found


def _sources(options: LoadOptions, files: Sequence[Path]) -> list[Source]:
    return sources(files, _directory(options, files)) if files else []


def _directory(options: LoadOptions, files: Sequence[Path]) -> Path:
    return Path(options.directory).absolute() if options.directory else files[0].parent


def _place(file: Path, node: yaml.Node) -> Location:
    return Location(file, node.start_mark.line + 1)
