"""Images examined: built where they are missing, read as the daemon saves them, held against a single-stage build."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gigogne.core.build_arguments import conceal
from gigogne.core.model import Project, Service
from gigogne.engines.docker.compose import Compose, last_words
from gigogne.engines.docker.connection import telling
from gigogne.engines.docker.images import prepare_image
from gigogne.engines.docker.layers.archive import SavedImage, read_saved
from gigogne.engines.docker.layers.history import Makers, makers_of
from gigogne.engines.docker.layers.report import Compared, ImageReport, LayerReport
from gigogne.engines.docker.layers.savings import largest, savings_of
from gigogne.engines.docker.layers.single_stage import SingleStage, single_stage
from gigogne.engines.docker.layers.stages import Dockerfile, Stage, read_dockerfile
from gigogne.errors import ComposeError, EngineError

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["Examiner", "built_images", "derived"]

_STALE = "it was not built from the Dockerfile as it is now: gigogne images --build"


def built_images(project: Project, names: Sequence[str]) -> dict[str, tuple[Service, ...]]:
    """The images that these services of the project are built to, all where none is named, with their services.

    Raises:
        ComposeError: One of them has no `build:`, or none of the project has.
    """
    buildable = [service for service in project.services.values() if service.build is not None]
    known = ", ".join(service.name for service in buildable)
    if not buildable:
        raise ComposeError("no service of this project has a build:", "gigogne images looks at what you build yourself")
    for name in names:
        service = project.services[name]
        if service.build is None:
            message = f"services.{name} has no build:, its image {service.image} is made elsewhere"
            raise ComposeError(message, f"name one that has: {known}")
    found: dict[str, tuple[Service, ...]] = {}
    for service in buildable:
        image = service.image or f"{project.name}-{service.name}"
        found[image] = (*found.get(image, ()), service)
    wanted = {image: sharing for image, sharing in found.items() if not names or {s.name for s in sharing} & {*names}}
    return {image: tuple(sorted(each, key=lambda one: one.name not in names)) for image, each in wanted.items()}


@dataclass(frozen=True, slots=True)
class _Read:
    """An image that was read, and what made its layers."""

    saved: SavedImage
    makers: Makers

    @property
    def base(self) -> int:
        return self.makers.base or 0

    @property
    def above_base(self) -> int:
        return sum(layer.bytes for layer in self.saved.layers[self.base :])


class Examiner:
    """Examines images of a project.

    Args:
        client: The daemon.
        binary: The Compose binary, which builds.
        project: The project.
        tell: Is told, by service, what takes its time.
    """

    def __init__(self, client: DockerClient, binary: Path, project: Project, tell: Callable[[str, str], None]) -> None:
        self._client = client
        self._binary = binary
        self._project = project
        self._tell = tell

    def examine(self, image: str, services: Sequence[Service], *, build: bool, compare: bool) -> ImageReport:
        """What an image is made of.

        Args:
            image: Its name.
            services: Those that are built to it.
            build: Build it, whether it is there or not.
            compare: Build it in one stage too, and look at that.

        Raises:
            ComposeError: Its Dockerfile is wrong.
            EngineError: It cannot be built, or Docker refuses.
        """
        service = services[0]
        assert service.build is not None
        dockerfile = read_dockerfile(service, self._project)
        stage, base = dockerfile.target(service.build.target), ""
        base = dockerfile.base(stage, service.build.args)
        with telling(self._client):
            self._prepare(service, build=build)
            found = self._read(service, image, dockerfile, stage, base)
            single = derived(self._client, dockerfile, stage, base) if compare and found.makers.current else None
            compared = self._compared(service, single) if single is not None else None
        layers, known = found.saved.layers, found.makers.base is not None
        return ImageReport(
            image=image,
            services=tuple(each.name for each in services),
            dockerfile=dockerfile.label,
            base=base if known else "",
            layers=tuple(
                LayerReport(layer.bytes, made.instruction, made.line, number < found.base)
                for number, (layer, made) in enumerate(zip(layers, found.makers.layers, strict=True))
            ),
            largest=tuple(largest(layers, found.base)) if known else (),
            savings=tuple(savings_of(layers, found.base)) if known else (),
            single_stage=compared,
            remark="" if found.makers.current else _STALE,
        )

    def _prepare(self, service: Service, *, build: bool) -> None:
        assert service.build is not None
        compose = Compose(self._binary, self._project, self._project.raw)
        tell = partial(self._tell, service.name)
        prepare_image(self._client, compose, service, self._project, tell, build=build)

    def _read(self, service: Service, image: str, dockerfile: Dockerfile, stage: Stage, base: str) -> _Read:
        self._tell(service.name, f"reading {image}")
        saved = read_saved(self._client.api.get_image(image))
        return _Read(saved, makers_of(saved, dockerfile, stage, _shared(self._client, image, base)))

    def _compared(self, service: Service, made: SingleStage) -> Compared:
        """The image of a single stage, which is there only while it is looked at."""
        if not made.text:
            return Compared(None, None, made.remark)
        assert service.build is not None
        remark = made.remark
        own = service.build.dockerfile
        if own is not None and own.with_name(f"{own.name}.dockerignore").exists():
            remark = f"{remark}; " if remark else ""
            remark += f"built without {own.name}.dockerignore, which goes with that file alone"
        with self.single_stage(service, made.text) as tag:
            dockerfile = Dockerfile(made.text, "the single stage")
            stage = dockerfile.target(None)
            found = self._read(service, tag, dockerfile, stage, dockerfile.base(stage, service.build.args))
        carries = savings_of(found.saved.layers, found.base)
        return Compared(found.saved.bytes, found.above_base, remark, tuple(carries))

    @contextlib.contextmanager
    def single_stage(self, service: Service, text: str) -> Iterator[str]:
        """The tag of an image built from this Dockerfile with all else that the service's `build:` says.

        Raises:
            EngineError: It cannot be built.
        """
        from docker.errors import APIError
        from requests import RequestException

        build = service.build
        assert build is not None
        tell = partial(self._tell, service.name)
        tag = f"gigogne-images/{self._project.name}-{service.name}:{secrets.token_hex(4)}"
        compose = Compose(self._binary, self._project, _with_build(self._project.raw, service.name, tag, text))
        try:
            tell("building it in a single stage, to compare")
            done = compose.follow("build", service.name, tell=lambda text: tell(conceal(text, build)))
            if done.returncode:
                said = last_words(conceal(done.stdout, build))
                raise EngineError(
                    f"{service.name}: the single-stage build to compare with fails: {said}",
                    "gigogne images --no-compare looks at the image alone",
                )
            yield tag
        finally:
            # Not there, or in use, or no daemon any more: what went wrong before is what counts.
            with contextlib.suppress(APIError, RequestException):
                self._client.api.remove_image(tag)


def derived(client: DockerClient, dockerfile: Dockerfile, stage: Stage, base: str) -> SingleStage:
    """The single-stage Dockerfile of a stage, by the working directory and the user of its base, where it is here."""
    config = (_inspected(client, base) or {}).get("Config") or {}
    return single_stage(
        dockerfile,
        stage.name or str(stage.index),
        directory=config.get("WorkingDir") or "/",
        user=config.get("User") or "root",
    )


def _with_build(raw: Mapping[str, Any], name: str, tag: str, text: str) -> dict[str, Any]:
    """The model with this Dockerfile and this tag for one service."""
    service = raw["services"][name]
    other = ("dockerfile", "dockerfile_inline", "target", "tags", "cache_to")
    build = {key: value for key, value in service["build"].items() if key not in other}
    build["dockerfile_inline"] = text.replace("$", "$$")
    return {**raw, "services": {**raw["services"], name: {**service, "image": tag, "build": build}}}


def _shared(client: DockerClient, image: str, base: str) -> int | None:
    """How many layers an image has of its base; None where the base is not here, or is another one by now."""
    below, whole = ((_inspected(client, name) or {}).get("RootFS", {}).get("Layers") or [] for name in (base, image))
    return len(below) if below and whole[: len(below)] == below else None


def _inspected(client: DockerClient, image: str) -> dict[str, Any] | None:
    from docker.errors import APIError, NullResource

    try:
        return client.images.get(image).attrs
    except (APIError, NullResource):  # no image here, or no name of one
        return None
