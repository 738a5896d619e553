"""Follows the steps of a recipe: which file and which environment lies where. Copies and installs nothing."""

from __future__ import annotations

import posixpath
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TypeVar

from gigogne.core.model import Problem
from gigogne.engines.process.image.archive import archive_entries
from gigogne.engines.process.image.context import Context
from gigogne.engines.process.image.recipe import (
    BASE_DIRECTORIES,
    SYSTEM,
    ChangeMode,
    Copy,
    CopyInside,
    Install,
    MakeDirectory,
    MakeEnvironment,
    MakeFile,
    MakeLink,
    Recipe,
    Remove,
    Stage,
    Step,
    UnixLines,
)
from gigogne.engines.process.image.tree import DIRECTORY, Entry, Tree
from gigogne.errors import ComposeError

__all__ = ["Installation", "Layout", "lay_out"]

T = TypeVar("T")
_PLAIN = stat.S_IFREG | 0o644
_PACKAGES = re.compile(r"(.*)/lib/python3[^/]*/site-packages")


@dataclass(frozen=True, slots=True)
class Installation:
    """An install command, with the files that the stage had when it ran."""

    step: Install
    tree: Tree = field(repr=False)
    where: str


@dataclass(slots=True)
class Layout:
    """What a stage holds: its files, and for each environment, by its path, what was installed into it."""

    tree: Tree = field(default_factory=Tree)
    environments: dict[str, tuple[Installation, ...]] = field(default_factory=lambda: {SYSTEM: ()})


def lay_out(recipe: Recipe, context: Context) -> tuple[Layout, list[Problem]]:
    """The layout of the recipe's target, and the sources of COPY that cannot be had."""
    follower = _Follower(recipe, context)
    for stage in recipe.stages:
        follower.follow(stage)
    return follower.layouts[recipe.stages[-1].index], follower.problems


class _Follower:
    def __init__(self, recipe: Recipe, context: Context) -> None:
        self.recipe = recipe
        self.context = context
        self.layouts: dict[int, Layout] = {}
        self.problems: list[Problem] = []

    def follow(self, stage: Stage) -> None:
        base = Layout() if stage.base is None else self.layouts[stage.base]
        layout = self.layouts[stage.index] = Layout(Tree(base.tree), dict(base.environments))
        for step in stage.steps:
            try:
                self.obey(layout, step)
            except ComposeError as error:
                where = self.recipe.where(step.line)
                self.problems.append(Problem(self.recipe.service, where, error.message, error.hint))

    def obey(self, layout: Layout, step: Step) -> None:
        match step:
            case MakeDirectory():
                layout.tree.make_directory(step.path)
            case MakeEnvironment():
                layout.environments[step.path] = ()
            case ChangeMode():
                _change_mode(layout.tree, step)
            case Copy(stage=None):
                self.copy_files(layout.tree, step)
            case Copy():
                self.copy_from_stage(layout, step)
            case Install():
                self.install(layout, step)
            case Remove():
                _remove(layout, step.paths)
            case CopyInside():
                self.copy_inside(layout, step)
            case MakeFile() | MakeLink() | UnixLines():
                _change_file(layout.tree, step)

    def install(self, layout: Layout, step: Install) -> None:
        seen = Layout(Tree(layout.tree), layout.environments)
        for bind in step.binds:
            self.obey(seen, bind)
        done = layout.environments.get(step.environment, ())
        installation = Installation(step, seen.tree, self.recipe.where(step.line))
        for path in step.files:
            # uv would say it too, but only after seconds, and by a path that no one knows
            if path not in seen.tree and not path.endswith("/uv.lock"):
                hint = "COPY it before this RUN"
                raise ComposeError(f"{path} is named here, but no COPY brings it", hint)
        layout.environments[step.environment] = (*done, installation)

    def copy_files(self, tree: Tree, step: Copy) -> None:
        found = [result for source in step.sources for result in self.context.find(source)]
        if step.unpack:
            found = [_unpacked(name, entries) for name, entries in found]
        found += [(name, {"": Entry(_PLAIN, content=content)}) for name, content in step.contents]
        _place(tree, step, found)

    def copy_from_stage(self, layout: Layout, step: Copy) -> None:
        assert step.stage is not None
        origin = self.layouts[step.stage]
        found: list[tuple[str, dict[str, Entry]]] = []
        for source in step.sources:
            moved = _move_environments(origin, layout, source, step.target)
            results = _find(origin.tree, source)
            if not results and not moved:
                hint = "an earlier COPY or RUN of that stage must make it, in a way that gigogne understands"
                raise ComposeError(f"{source} is not in the stage that COPY --from names", hint)
            found += results
        _place(layout.tree, step, found)

    def copy_inside(self, layout: Layout, step: CopyInside) -> None:
        found: list[tuple[str, dict[str, Entry]]] = []
        target = step.target.rstrip("/") or "/"
        into = target in BASE_DIRECTORIES or layout.tree.is_directory(target) or len(step.sources) > 1
        for source in step.sources:
            results = _find(layout.tree, source)
            if not results:
                hint = "a COPY or RUN before this line must make it"
                raise ComposeError(f"{source} is none of the files that this Dockerfile made", hint)
            # Unlike COPY, cp puts a directory itself into a directory, not what is in it.
            found += [(name, _under(name, entries) if into else entries) for name, entries in results]
        if step.move:
            _remove(layout, step.sources)
        _place(layout.tree, Copy(step.line, step.sources, f"{target}/" if into else step.target), found)


def _under(name: str, entries: dict[str, Entry]) -> dict[str, Entry]:
    if "" in entries and not entries[""].is_directory:
        return entries
    return {posixpath.join(name, inside) if inside else name: entry for inside, entry in entries.items()}


def _unpacked(name: str, entries: dict[str, Entry]) -> tuple[str, dict[str, Entry]]:
    """What ADD makes of a file: what is in it, where it is an archive."""
    source = entries[""].source if "" in entries else None
    unpacked = archive_entries(source) if source else None
    return (name, entries) if unpacked is None else (name, {"": DIRECTORY, **unpacked})


def _remove(layout: Layout, patterns: Sequence[str]) -> None:
    for pattern in patterns:
        for path, _ in _at_or_under(layout.tree, pattern):
            del layout.tree[path]
        for path, _ in _at_or_under(layout.environments, pattern):
            if path != SYSTEM:
                del layout.environments[path]


def _at_or_under(paths: Mapping[str, T], pattern: str) -> list[tuple[str, T]]:
    """What lies where `pattern` says (`/app`, `/app/*`), and under it."""
    depth = pattern.count("/") + 1
    return [(path, what) for path, what in paths.items() if fnmatchcase("/".join(path.split("/")[:depth]), pattern)]


def _change_file(tree: Tree, step: MakeFile | MakeLink | UnixLines) -> None:
    match step:
        case MakeFile(content=None):
            tree.setdefault(step.path, Entry(_PLAIN, content=b""))
        case MakeFile():
            before = tree[step.path].read() if step.append and step.path in tree else b""
            tree[step.path] = Entry(_PLAIN, content=before + (step.content or b""))
        case MakeLink():
            into = step.path.endswith("/") or step.path in BASE_DIRECTORIES or tree.is_directory(step.path)
            path = posixpath.join(step.path, posixpath.basename(step.target)) if into else step.path
            tree[path] = Entry(stat.S_IFLNK | 0o777, link=step.target)
        case UnixLines():
            for path, entry in (found for pattern in step.paths for found in _at_or_under(tree, pattern)):
                if stat.S_ISREG(entry.mode):
                    text = entry.read().replace(b"\r\n", b"\n")
                    tree[path] = replace(entry, source=None, offset=None, content=text)


def _find(tree: Tree, source: str) -> list[tuple[str, dict[str, Entry]]]:
    """What `source`, a path or a pattern, names in `tree`; the form is that of `Context.find`."""
    names = [source]
    if any(char in source for char in "*?["):
        depth = source.count("/")
        names = sorted({"/".join(path.split("/")[: depth + 1]) for path in tree if path.count("/") >= depth})
        names = [name for name in names if fnmatchcase(name, source)]
    found = []
    for name in names:
        entries = dict(tree.below(name))
        if name in tree or entries:
            entries = {"": tree[name], **entries} if name in tree else entries
            found.append((posixpath.basename(name), entries))
    return found


def _place(tree: Tree, step: Copy, found: list[tuple[str, dict[str, Entry]]]) -> None:
    """Put what was found where `step` says."""
    target = step.target.rstrip("/") or "/"
    into = step.target.endswith("/") or tree.is_directory(target)
    if len(found) > 1 and not into:
        raise ComposeError("COPY of several files needs a directory as its target", f"write {step.target}/")
    for name, entries in found:
        alone = "" in entries and not entries[""].is_directory
        place = posixpath.join(target, name) if alone and into else target
        for inside, entry in entries.items():
            path = posixpath.join(place, inside) if inside else place
            if step.mode is not None and not entry.is_directory:
                entry = entry.with_bits(0o777, step.mode)
            there = tree.get(path)
            if entry.is_directory:
                tree.setdefault(path, entry)
                continue
            if there and there.is_directory:
                raise ComposeError(f"a file cannot replace the directory {path}", f"write {path}/ to copy into it")
            tree[path] = entry


def _move_environments(origin: Layout, layout: Layout, source: str, target: str) -> bool:
    """Give `layout` the environments of `origin` at, above or under `source`; whether there were any."""
    moved = False
    for path, installed in origin.environments.items():
        if path == source or path.startswith(source.rstrip("/") + "/"):
            place = target.rstrip("/") + path[len(source.rstrip("/")) :]
        elif source.startswith(path + "/"):  # a part, such as its site-packages or its bin, is as good as the whole
            inside = source[len(path) :]
            if not target.rstrip("/").endswith(inside):
                continue
            place = target.rstrip("/").removesuffix(inside)
        else:
            continue
        if not place:
            continue
        moved = True
        if inside_of := _PACKAGES.fullmatch(place):  # packages of `pip install --target` become those of a Python
            place, installed = inside_of[1], tuple(replace(i, step=replace(i.step, plain=False)) for i in installed)
        own = layout.environments.get(place, ())
        layout.environments[place] = (*own, *(each for each in installed if each not in own))
    return moved


def _change_mode(tree: Tree, step: ChangeMode) -> None:
    for pattern in step.paths:
        for path, entry in _at_or_under(tree, pattern):
            if step.recursive or path.count("/") == pattern.count("/"):
                tree[path] = entry.with_bits(step.clear, step.add)
