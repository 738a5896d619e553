"""An image without Docker: the files, the environments and the configuration that a Dockerfile describes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gigogne.core.model import MountType, Problem, Project, Service
from gigogne.engines.process.cache import make_once, prune, touch
from gigogne.engines.process.image.bases import KNOWN_IMAGES, is_known_image
from gigogne.engines.process.image.context import Context
from gigogne.engines.process.image.dockerfile import read_recipe
from gigogne.engines.process.image.environment import editable_paths, executables, prepare_environment
from gigogne.engines.process.image.installs import user_base
from gigogne.engines.process.image.interpreter import Interpreter, find_interpreter
from gigogne.engines.process.image.layout import Installation, Layout, lay_out
from gigogne.engines.process.image.recipe import SYSTEM, ImageConfig, Recipe
from gigogne.engines.process.image.spelled import spelled_paths, would_be_written
from gigogne.engines.process.image.volumes import hidden_files
from gigogne.engines.process.paths import Paths
from gigogne.errors import ComposeError, EngineError, UnsupportedError

__all__ = ["KNOWN_IMAGES", "Image", "ImageConfig", "check_image", "executables", "is_known_image", "prepare_image"]


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
        python_path: The directories in the image that editable installs put on `sys.path`.
    """

    root: Path
    environments: Mapping[str, Path]
    python: Path
    config: ImageConfig
    python_path: tuple[str, ...] = ()


def check_image(
    service: Service, project: Project, paths: Paths | None = None, *, sandboxed: bool = True
) -> list[Problem]:
    """Everything in the service's Dockerfile or image that cannot be honoured, or is honoured in another way.

    Downloads nothing. With `paths`, what it learns of this machine's Pythons is kept in the cache, and the service's
    volumes are held against the image. `sandboxed` tells whether the service will run in the sandbox.
    """
    try:
        recipe = read_recipe(service, project)
        layout, missing = _lay_out(recipe, service)
    except ComposeError as error:
        return [Problem(service.name, "", error.message, error.hint, wrong=True)]
    problems = [*recipe.problems, *(replace(problem, wrong=True) for problem in missing)]
    if recipe.config is not None:
        problems += _user_problems(service, recipe.config, sandboxed=sandboxed)
    if not sandboxed:
        problems += _spelled_out(service, project, layout)
    if recipe.userland and not sandboxed:
        where, hint = (
            recipe.where(recipe.python_line),
            "start from python:3.12-slim, or run it where there is a sandbox",
        )
        message = f"the commands of {recipe.userland} would change this machine itself: there is no sandbox here"
        problems.append(Problem(service.name, where, message, f"{hint} (`gigogne doctor` says why)"))
    if paths is not None:
        problems += _hidden(service, project, layout, paths)
    try:
        found = _interpreter(recipe, layout, paths.cache if paths else None)
    except EngineError as error:
        return [*problems, Problem(service.name, recipe.where(recipe.python_line), error.message, error.hint)]
    return [*problems, *_substitute(recipe, found)]


def _user_problems(service: Service, config: ImageConfig, *, sandboxed: bool) -> Iterator[Problem]:
    """A user that the image does not know; and what another one than root may do in the sandbox."""
    user = config.identity(service.user)
    if user is None:
        message = f"{service.user} is not known in the image"
        hint = f"write a number, or one of: {', '.join(config.users)}"
        yield Problem(service.name, f"services.{service.name}.user", message, hint, wrong=True)
    elif sandboxed and user.uid != 0:
        for mount in service.mounts:
            if mount.type is MountType.BIND and not mount.read_only:
                message = f"in mounted folders it may do what you may do, not what user {user.uid} may"
                yield Problem(service.name, f"services.{service.name}.volumes", message, fatal=False)
                return


def _spelled_out(service: Service, project: Project, layout: Layout) -> Iterator[Problem]:
    """The code that names mounts by the container's paths, which only the sandbox makes true."""
    writable = {mount.target for mount in service.mounts if not mount.read_only}
    # A target that a variable or the command gives is a default in the code, and what is given is rewritten.
    given = " ".join([*service.environment.values(), *(service.command or ()), *(service.entrypoint or ())])
    targets = [mount.target for mount in service.mounts if mount.target.rstrip("/") not in given]
    for file, line, target in spelled_paths(layout.tree, targets):
        place = file.relative_to(project.directory) if file.is_relative_to(project.directory) else file
        message = f"spells out {target}, which without a sandbox is this machine's own {target}"
        hint = (
            f"let {service.name} read the path from a variable, and set that to {target} in environment:, which is "
            "rewritten; or run it where there is a sandbox (`gigogne doctor` says why there is none)"
        )
        lost = any(f"{target}/".startswith(f"{each}/") for each in writable) and would_be_written(target)
        yield Problem(service.name, f"{place}:{line}", message, hint, fatal=lost)


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
    found = _interpreter(recipe, layout, paths.cache, download=True, progress=progress)
    made = {
        path: prepare_environment(commands, found, paths.cache, progress)
        for path, commands in layout.environments.items()
    }
    plain = {path for path, commands in layout.environments.items() if _is_plain(commands)}
    environments = {path: place for path, place in made.items() if path not in plain}
    root = _write_tree(layout, {path: made[path] for path in sorted(plain)}, _folder(service, project, paths), progress)
    config = recipe.config
    if config.environment.get("PYTHON_VERSION") == recipe.python:
        config = replace(config, environment={**config.environment, "PYTHON_VERSION": found.version})
    python_path = dict.fromkeys(path for place in environments.values() for path in editable_paths(place))
    return Image(root, environments, found.executable, config, tuple(python_path))


def _lay_out(recipe: Recipe, service: Service) -> tuple[Layout, list[Problem]]:
    build = service.build
    context = Context(build.context if build else Path("/nonexistent"), build.dockerfile if build else None)
    layout, problems = lay_out(recipe, context)
    if recipe.config is not None:
        # Python sees its user's own packages beside the system's.
        own = user_base({"HOME": recipe.config.home, **recipe.config.environment})
        if own in layout.environments:
            both = (*layout.environments[SYSTEM], *layout.environments[own])
            layout.environments |= {SYSTEM: both, own: both}
    return layout, problems


def _is_plain(commands: tuple[Installation, ...]) -> bool:
    return bool(commands) and all(command.step.plain for command in commands)


def _hidden(service: Service, project: Project, layout: Layout, paths: Paths) -> list[Problem]:
    """The volumes that hide newer files of the image."""
    problems = []
    for mount in service.mounts:
        if mount.type is not MountType.VOLUME or not mount.source or mount.nocopy or mount.subpath:
            continue
        volume = project.volumes.get(mount.source, mount.source)
        if hidden := hidden_files(paths.volume(volume), mount.target, layout.tree):
            shown = ", ".join(hidden[:3]) + (f" and {len(hidden) - 3} more" if len(hidden) > 3 else "")
            message = f"the volume {volume} hides files of the image at {mount.target}: {shown} (the volume's are used)"
            hint = "remove this mount in development, or make the volume anew: gigogne down -v"
            problems.append(Problem(service.name, f"services.{service.name}.volumes", message, hint, fatal=False))
    return problems


def _interpreter(
    recipe: Recipe,
    layout: Layout,
    cache: Path | None,
    *,
    download: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> Interpreter:
    """The Python for the image.

    Raises:
        EngineError: None would do; where the project's own file says so, it is named.
    """
    requires, file = _requires_python(recipe, layout)
    try:
        return find_interpreter(recipe.python, requires, cache, download=download, progress=progress)
    except EngineError as error:
        if not requires:
            raise
        hint = f"{error.hint}, or change requires-python in {file}"
        raise EngineError(f"{file} wants Python {requires}: {error.message}", hint) from None


def _substitute(recipe: Recipe, found: Interpreter) -> list[Problem]:
    if found.exact:
        return []
    message = f"Python {recipe.python} is not on this machine; {_minor(found.version)} is used"
    hint = f"install Python {recipe.python} (uv python install {recipe.python}) for the same version"
    return [Problem(recipe.service, recipe.where(recipe.python_line), message, hint, fatal=False)]


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _requires_python(recipe: Recipe, layout: Layout) -> tuple[str, str]:
    """The `requires-python` of the pyproject.toml that the image installs from, or copies, and which file that is."""
    trees = [each.tree for commands in layout.environments.values() for each in commands]
    for tree in [*trees, layout.tree]:
        for path, entry in tree.items():
            if path.endswith("/pyproject.toml"):
                import tomllib

                try:
                    project = tomllib.loads(entry.read().decode("utf-8", "replace")).get("project", {})
                except (ComposeError, tomllib.TOMLDecodeError):
                    continue  # uv says what is wrong with it, if it matters
                return re.sub(r"\s", "", str(project.get("requires-python", ""))), str(entry.source or path)
    return "", ""


def _folder(service: Service, project: Project, paths: Paths) -> Path:
    """Where the trees of this service are. Projects of one name in two directories do not share it."""
    from hashlib import sha256

    place = sha256(str(project.directory).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return paths.cache / "images" / f"{project.name}-{service.name}-{place}"


def _write_tree(layout: Layout, packages: Mapping[str, Path], folder: Path, progress: Callable[[str], None]) -> Path:
    """The tree of the image's files, with the plain directories of `packages` in it, from the cache or made now."""
    from hashlib import sha256

    digest = sha256(b"2")
    for fact in (*layout.tree.signature(), repr(packages).encode("utf-8", "surrogateescape")):
        digest.update(fact)
    fresh = False

    def make(place: Path) -> None:
        nonlocal fresh
        fresh = True
        layout.tree.write(place / "root")
        for path, source in packages.items():
            target = place / "root" / path.lstrip("/")
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)

    place = make_once(folder / digest.hexdigest()[:32], make, progress)
    touch(place)
    if fresh:
        prune(folder, keep=3, days=7)
    return place / "root"
