"""The image of a service: built or pulled by Compose when it is missing, or when that is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from gigogne.core.build_arguments import conceal
from gigogne.core.model import Build, Project, Service
from gigogne.engines.docker.compose import Compose, last_words
from gigogne.errors import EngineError

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["prepare_image"]

# So many of the last lines say why a build failed, where the builder does not draw it up.
_TELLING = 15
_FAILED_STEP = re.compile(r"\s*> \[")
_PROGRESS = re.compile(r"#\d+ |\s*Image \S+ Building")
_FETCH = "docker login where it is private; docker load where there is no registry"


def prepare_image(
    client: DockerClient,
    compose: Compose,
    service: Service,
    project: Project,
    tell: Callable[[str], None],
    *,
    build: bool,
) -> None:
    """Make the service's image be there.

    Raises:
        EngineError: It cannot be built or pulled, or `pull_policy: never` forbids it; with the last words of Docker.
    """
    name = service.image or f"{project.name}-{service.name}"
    there, policy = _exists(client, name), service.raw.get("pull_policy", "missing")
    if service.build is not None and (build or not there or policy == "build"):
        tell(f"building {name}")
        _build(compose, service.name, service.build, name, tell)
    elif service.build is None and not there and policy == "never":
        raise EngineError(
            f"{service.name}: the image {name} is not here, and pull_policy: never forbids to pull it",
            f"docker pull {name}, or take pull_policy away",
        )
    elif service.build is None and (not there or policy in ("always", "refresh")):
        tell(f"pulling {name}")
        done = compose.follow("pull", service.name, tell=lambda _: None)
        if done.returncode:
            what = f"{service.name}: the image {name} cannot be pulled"
            raise EngineError(f"{what}: {last_words(done.stdout)}", f"look at its name and tag; {_FETCH}")


def _build(compose: Compose, service: str, build: Build, name: str, tell: Callable[[str], None]) -> None:
    done = compose.follow("build", service, tell=lambda text: tell(conceal(text, build)))
    if done.returncode:
        said = conceal(done.stdout, build)
        raise EngineError(
            "\n    ".join([f"{service}: the image {name} cannot be built:", *_telling(said)]), _mend(said)
        )


def _telling(said: str) -> list[str]:
    """The end of a build that failed. BuildKit draws it up in the end: the step, its last lines, the Dockerfile's."""
    lines = said.splitlines()
    begun = [number for number, line in enumerate(lines) if _FAILED_STEP.match(line)]
    end = lines[begun[-1] if begun else -_TELLING :]
    return [line for line in end if line.strip("- ") and not _PROGRESS.match(line)]


def _mend(said: str) -> str:
    """What to do about a build that failed."""
    if "failed to resolve source metadata" in said:
        return f"look at the image's name and tag in FROM; {_FETCH}"
    if "code = Unavailable" in said or "Cannot connect to the Docker daemon" in said:
        return "Docker went away: start it, then type the same command again"
    return "mend the Dockerfile"


def _exists(client: DockerClient, name: str) -> bool:
    from docker.errors import ImageNotFound

    try:
        client.images.get(name)
    except ImageNotFound:
        return False
    return True
