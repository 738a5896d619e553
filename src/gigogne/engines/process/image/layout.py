"""Follows the steps of a recipe: which file and which environment lies where. Copies and installs nothing."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from gigogne.core.model import Problem
from gigogne.engines.process.image.context import Context
from gigogne.engines.process.image.recipe import (
    SYSTEM,
    ChangeMode,
    Copy,
    Install,
    MakeDirectory,
    MakeEnvironment,
    Recipe,
    Stage,
)
from gigogne.engines.process.image.tree import Entry, Tree
from gigogne.errors import ComposeError

__all__ = ["Installation", "Layout", "lay_out"]


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

    def obey(self, layout: Layout, step: Copy | MakeDirectory | ChangeMode | MakeEnvironment | Install) -> None:
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
        found += [(name, {"": Entry(0o100644, content=content)}) for name, content in step.contents]
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
        own = layout.environments.get(place, ())
        layout.environments[place] = (*own, *(each for each in installed if each not in own))
    return moved


def _change_mode(tree: Tree, step: ChangeMode) -> None:
    for path in step.paths:
        paths = [path, *(f"{path}/{inside}" for inside, _ in tree.below(path))] if step.recursive else [path]
        for each in paths:
            if entry := tree.get(each):
                tree[each] = entry.with_bits(step.clear, step.add)
