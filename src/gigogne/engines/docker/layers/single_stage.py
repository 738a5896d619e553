"""The single-stage Dockerfile that a multi-stage one is measured against: the same instructions, on one image.

A pure function of the text. The stages that the built one takes files from come first, and what it would copy from them
is there already. So it is not the worst that people write: the order of the layers and the mounted caches are kept.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from e2b_dockerfile_utils import DockerfileInstruction

from gigogne.engines.docker.layers.stages import Dockerfile, Stage

__all__ = ["SingleStage", "single_stage"]

# What tells how to run an image: of a stage that is only copied from, it does not arrive.
_OF_THE_RUN = frozenset("CMD ENTRYPOINT EXPOSE HEALTHCHECK LABEL MAINTAINER ONBUILD STOPSIGNAL VOLUME".split())
_SAME_SHELL = 'SHELL ["/bin/sh", "-c"]'


@dataclass(frozen=True, slots=True)
class SingleStage:
    """The Dockerfile that does all in one stage.

    Attributes:
        text: What to build; empty where there is nothing to compare with.
        remark: What to know of it: why there is none, or which image it starts from.
    """

    text: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class _State:
    """What instructions leave to those behind them, as instructions that bring it about again."""

    directory: tuple[str, ...] = ("WORKDIR /",)
    user: str = "USER root"
    shell: str = _SAME_SHELL

    def after(self, instruction: DockerfileInstruction, source: str) -> _State:
        """The state behind one more instruction."""
        match instruction.name:
            case "WORKDIR":
                absolute = instruction.args[0].startswith("/")
                return replace(self, directory=(source,) if absolute else (*self.directory, source))
            case "USER":
                return replace(self, user=source)
            case "SHELL":
                return replace(self, shell=source)
            case _:
                return self

    @property
    def path(self) -> str:
        """The working directory, with its variables as they are written."""
        return posixpath.normpath(posixpath.join(*(line.split(maxsplit=1)[1] for line in self.directory)))

    def is_root(self) -> bool:
        """Whether what runs next may write everywhere."""
        return self.user.split()[-1].partition(":")[0] in ("root", "0")


def single_stage(
    dockerfile: Dockerfile, target: str | None = None, *, directory: str = "/", user: str = "root"
) -> SingleStage:
    """Derive it.

    Args:
        dockerfile: What is built in several stages.
        target: The stage that is built; the last one where it is not given.
        directory: The working directory that the image of FROM sets.
        user: Its user.

    Raises:
        ComposeError: The Dockerfile is wrong.
    """
    final = dockerfile.target(target)
    chain = {stage.index for stage in dockerfile.chain(final)}
    needed = _needed(dockerfile, final)
    if {stage.index for stage in needed} == chain:
        return SingleStage("", "it is built in one stage already")
    roots = dict.fromkeys(dockerfile.chain(stage)[0].image for stage in needed)
    own = dockerfile.chain(final)[0].image
    others = [image for image in roots if image != own]
    if len(others) > 1:
        return SingleStage("", f"its stages start from {', '.join(roots)}: no one of them can build all of it")
    image = others[0] if others else own
    writer = _Writer(dockerfile, needed, chain, _State((f"WORKDIR {directory}",), f"USER {user}"))
    if (lines := writer.write(image)) is None:
        return SingleStage("", "a RUN --mount of it takes from a stage in a way that is not understood")
    return SingleStage("\n".join(lines) + "\n", f"on {image}, which has what its build needs" if others else "")


def _needed(dockerfile: Dockerfile, final: Stage) -> list[Stage]:
    """The stages that the final one is built on or copies from, and so on, in the order of the file."""
    found: dict[int, Stage] = {}
    waiting = [final]
    while waiting:
        for stage in dockerfile.chain(waiting.pop()):
            if stage.index in found:
                continue
            found[stage.index] = stage
            names = [name for instruction in stage.body for name in _origins(instruction)]
            waiting += [other for name in names if (other := dockerfile.find(name, stage.index)) is not None]
    return [found[index] for index in sorted(found)]


def _origins(instruction: DockerfileInstruction) -> Iterator[str]:
    """The stages or images that an instruction takes files from."""
    for flag in instruction.flags:
        name, _, value = flag.partition("=")
        if name == "--from":
            yield value
        elif name == "--mount" and (origin := _options(value).get("from")):
            yield origin


class _Writer:
    """Writes the stages one behind the other; before each, the state that its FROM had is set right again."""

    def __init__(self, dockerfile: Dockerfile, stages: Sequence[Stage], chain: set[int], start: _State) -> None:
        self._dockerfile = dockerfile
        self._stages = stages
        self._chain = chain
        self._ends: dict[int, _State] = {-1: start}
        aside = [instruction for stage in stages if stage.index not in chain for instruction in stage.body]
        self._names = sorted({name for each in aside if each.name == "ENV" for name in each.args[::3]})
        self._understood = True

    def write(self, image: str) -> list[str] | None:
        """The lines of the Dockerfile, on this image; None where one of them cannot be written."""
        source = self._dockerfile.source
        lines = [*self._dockerfile.directives, *map(source, self._dockerfile.outer), f"FROM {image}", *self._kept(-1)]
        before = -1
        for stage in self._stages:
            parent = self._dockerfile.parent(stage)
            origin = -1 if parent is None else parent.index
            if before != origin:
                lines += self._again(self._ends[before], origin)
            lines += self._body(stage, self._ends[origin])
            lines += self._kept(stage.index)
            before = stage.index
        return lines if self._understood else None

    def _kept(self, index: int) -> Iterator[str]:
        """What the variables are here, for the stages that start from here."""
        parents = [self._dockerfile.parent(stage) for stage in self._stages]
        if index in {-1 if parent is None else parent.index for parent in parents}:
            yield from (f"ARG {_kept_name(index, name)}=${{{name}}}" for name in self._names)

    def _again(self, now: _State, origin: int) -> Iterator[str]:
        """The state that a stage starts with, where another one has come between."""
        wanted = self._ends[origin]
        yield from (f"ENV {name}=${{{_kept_name(origin, name)}}}" for name in self._names)
        if now.directory != wanted.directory:
            yield from wanted.directory
        if now.user != wanted.user:
            yield wanted.user
        if now.shell != wanted.shell:
            yield wanted.shell

    def _body(self, stage: Stage, state: _State) -> Iterator[str]:
        for instruction in stage.body:
            if instruction.name in _OF_THE_RUN and stage.index not in self._chain:
                continue
            source = self._dockerfile.source(instruction)
            taken = [name for name in _origins(instruction) if self._dockerfile.find(name, stage.index)]
            if not taken:
                yield source
            elif instruction.name == "RUN":
                yield from self._run(instruction, source, taken, state)
            else:
                yield from _copied(instruction, state)
            state = state.after(instruction, source)
        self._ends[stage.index] = state

    def _run(self, instruction: DockerfileInstruction, source: str, taken: Sequence[str], state: _State) -> list[str]:
        """A RUN without the mounts of files that are there already."""
        brought: list[str] = []
        for flag in instruction.flags:
            options = _options(flag.partition("=")[2])
            if not flag.startswith("--mount=") or options.get("from") not in taken:
                continue
            self._understood = self._understood and flag in source
            source = re.sub(re.escape(flag) + r"\s*", "", source)
            place = options.get("target") or options.get("dst") or options.get("destination") or ""
            origin = _from_root(options.get("source") or options.get("src") or "/")
            if posixpath.join(state.path, place) != origin:
                brought += _as_root(_copy_script([origin], place), state)
        return [*brought, source]


def _kept_name(index: int, name: str) -> str:
    return f"GIGOGNE_KEPT_{index + 1}_{name}"


def _options(text: str) -> dict[str, str]:
    return {name: value for name, _, value in (part.partition("=") for part in text.split(","))}


def _copied(instruction: DockerfileInstruction, state: _State) -> list[str]:
    """What a COPY from a stage becomes: nothing where the files are in their place."""
    words = [_quoted(word) if instruction.json else word for word in instruction.args]
    sources, target = [_from_root(word) for word in words[:-1]], words[-1]
    flags = dict(flag.removeprefix("--").partition("=")[::2] for flag in instruction.flags)
    place = posixpath.normpath(posixpath.join(state.path, target))
    there = all(posixpath.normpath(source) == place for source in sources)
    change = [f"chmod -R {mode} " for mode in [flags.get("chmod")] if mode]
    # Of what is in its place, the owner is left alone: a second copy of it all would be paid for nothing but that.
    if there:
        script = "; ".join(f"{words}{target}" for words in change)
    else:
        script = _copy_script(sources, target, [*change, *(f"chown -R {me} " for me in [flags.get("chown")] if me)])
    return _as_root(script, state) if script else [f"# in its place: {' '.join(sources)}"]


def _copy_script(sources: Sequence[str], target: str, changes: Sequence[str] = ()) -> str:
    """COPY's rules in a shell: of a directory what is in it, and a file into what ends with a slash.

    `changes` are the beginnings of commands for each file or directory that has been copied.
    """
    folder = target if target.endswith("/") or len(sources) > 1 else f'"$(dirname {target})"'
    within = "".join(f'; {words}{target}/"${{one##*/}}"' for words in changes)
    each_within = f'; for one in "$each"/* "$each"/.[!.]*; do if [ -e "$one" ]; then :{within}; fi; done'
    alone = "".join(f'; {words}"$at"' for words in changes)
    return (
        f"set -e; for each in {' '.join(sources)}; do "
        f'if [ -d "$each" ]; then mkdir -p {target}; [ "$each" -ef {target} ] || cp -a "$each/." {target}'
        f"{each_within if changes else ''}; "
        f'else mkdir -p {folder}; at={target}; if [ -d "$at" ]; then at="$at/${{each##*/}}"; fi; '
        f'[ "$each" -ef "$at" ] || cp -a "$each" "$at"{alone}; '
        "fi; done"
    )


def _as_root(script: str, state: _State) -> list[str]:
    """A RUN of a script, whatever shell and user the others have: COPY asks for neither."""
    run = "RUN " + json.dumps(["/bin/sh", "-c", script], ensure_ascii=False)
    return [run] if state.is_root() else ["USER root", run, state.user]


def _quoted(word: str) -> str:
    """A word of the JSON form for a shell, which still sees variables and patterns."""
    return word if re.fullmatch(r"[\w@%+=:,./*?\[\]${}-]+", word) else '"' + re.sub(r'(["\\`])', r"\\\1", word) + '"'


def _from_root(path: str) -> str:
    """A path of another stage: relative ones start at its root."""
    return path if path.startswith(("/", "$", '"', "'")) else f"/{path}"
