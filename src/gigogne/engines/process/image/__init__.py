"""An image without Docker: the files, the environments and the configuration that a Dockerfile describes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gigogne.core.model import Problem, Project, Service
from gigogne.engines.process.cache import make_once, prune, touch
from gigogne.engines.process.image.context import Context
from gigogne.engines.process.image.dockerfile import read_recipe
from gigogne.engines.process.image.environment import executables, prepare_environment
from gigogne.engines.process.image.interpreter import Interpreter, find_interpreter
from gigogne.engines.process.image.layout import Layout, lay_out
from gigogne.engines.process.image.recipe import ImageConfig, Recipe
from gigogne.engines.process.paths import Paths
from gigogne.errors import ComposeError, EngineError, UnsupportedError

__all__ = ["Image", "ImageConfig", "check_image", "executables", "prepare_image"]


@dataclass(frozen=True, slots=True)
class Image:
    """What the process engine has in place of an image.

    Attributes:
        root: The tree of the files that COPY, mkdir and WORKDIR make, laid out as in the image. Never written
        to once it is made.
        environments: The environment directory on this machine for each path in the image; always has
        `/usr/local`.
        python: The interpreter under them, outside any virtual environment.
        config: What a container gets when Compose says nothing else.
    """

    root: Path
    environments: Mapping[str, Path]
    python: Path
    config: ImageConfig


def check_image(service: Service, project: Project, paths: Paths | None = None) -> list[Problem]:
    """Everything in the service's Dockerfile that cannot be honoured, or is honoured in another way.

    Downloads nothing. With `paths`, what it learns of this machine's Pythons is kept in the cache.
    """
    try:
        recipe = read_recipe(service, project)
        layout, missing = _lay_out(recipe, service)
    except ComposeError as error:
        return [Problem(service.name, "", error.message, error.hint)]
    problems = [*recipe.problems, *missing]
    try:
        found = find_interpreter(recipe.python, _requires_python(recipe, layout), paths.cache if paths else None)
    except EngineError as error:
        return [*problems, Problem(service.name, recipe.where(recipe.python_line), error.message, error.hint)]
    return [*problems, *_substitute(recipe, found)]


def prepare_image(service: Service, project: Project, paths: Paths, progress: Callable[[str], None]) -> Image:
    """Make what the service's Dockerfile describes, or find it ready.

    Raises:
        ComposeError: The Dockerfile is wrong, or names files that are not there.
        UnsupportedError: It has instructions that only Docker can follow.
        EngineError: No fitting Python, or uv cannot install.
    """
    recipe = read_recipe(service, project)
    layout, missing = _lay_out(recipe, service)
    refused = [problem for problem in recipe.problems if problem.fatal]
    if refused:
        raise UnsupportedError([*refused, *missing], "run it with docker compose, or change these lines")
    if missing:
        raise ComposeError("\n".join(map(str, missing)), "correct these lines of the Dockerfile")
    assert recipe.config is not None  # else there is a fatal problem
    requires = _requires_python(recipe, layout)
    found = find_interpreter(recipe.python, requires, paths.cache, download=True, progress=progress)
    environments = {
        path: prepare_environment(commands, found, paths.cache, progress)
        for path, commands in layout.environments.items()
    }
    root = _write_tree(layout, _folder(service, project, paths), progress)
    config = recipe.config
    if config.environment.get("PYTHON_VERSION") == recipe.python:
        config = replace(config, environment={**config.environment, "PYTHON_VERSION": found.version})
    return Image(root, environments, found.executable, config)


def _lay_out(recipe: Recipe, service: Service) -> tuple[Layout, list[Problem]]:
    build = service.build
    context = Context(build.context if build else Path("/nonexistent"), build.dockerfile if build else None)
    return lay_out(recipe, context)


def _substitute(recipe: Recipe, found: Interpreter) -> list[Problem]:
    if found.exact:
        return []
    message = f"Python {recipe.python} is not on this machine; {_minor(found.version)} is used"
    hint = f"install Python {recipe.python} (uv python install {recipe.python}) for the same version"
    return [Problem(recipe.service, recipe.where(recipe.python_line), message, hint, fatal=False)]


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _requires_python(recipe: Recipe, layout: Layout) -> str:
    """The `requires-python` of the pyproject.toml that the image installs from, or copies; may be empty."""
    trees = [each.tree for commands in layout.environments.values() for each in commands]
    for tree in [*trees, layout.tree]:
        for path, entry in tree.items():
            if path.endswith("/pyproject.toml"):
                import tomllib

                try:
                    project = tomllib.loads(entry.read().decode("utf-8", "replace")).get("project", {})
                except (ComposeError, tomllib.TOMLDecodeError):
                    continue  # uv says what is wrong with it, if it matters
                return re.sub(r"\s", "", str(project.get("requires-python", "")))
    return ""


def _folder(service: Service, project: Project, paths: Paths) -> Path:
    """Where the trees of this service are. Projects of one name in two directories do not share it."""
    from hashlib import sha256

    place = sha256(str(project.directory).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return paths.cache / "images" / f"{project.name}-{service.name}-{place}"


def _write_tree(layout: Layout, folder: Path, progress: Callable[[str], None]) -> Path:
    from hashlib import sha256

    digest = sha256(b"1")
    for fact in layout.tree.signature():
        digest.update(fact)
    fresh = False

    def make(place: Path) -> None:
        nonlocal fresh
        fresh = True
        layout.tree.write(place / "root")

    place = make_once(folder / digest.hexdigest()[:32], make, progress)
    touch(place)
    if fresh:
        prune(folder, keep=3, days=7)
    return place / "root"
