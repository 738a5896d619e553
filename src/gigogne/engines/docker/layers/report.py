"""What `gigogne images` says of an image, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from gigogne.engines.docker.layers.savings import Saving

__all__ = ["Compared", "ImageReport", "LayerReport"]


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One layer.

    Attributes:
        bytes: What its files take.
        instruction: What made it.
        line: The line of the Dockerfile; 0 for a layer of the image in FROM.
        base: Whether it came with the image in FROM.
    """

    bytes: int
    instruction: str
    line: int
    base: bool


@dataclass(frozen=True, slots=True)
class Compared:
    """The same component, built in one stage.

    Attributes:
        bytes: The size of that image; None where there is none.
        above_base: What of it is above the image in its FROM.
        remark: What to know of it: why there is none, or which image it starts from.
        carries: What it has that could go.
    """

    bytes: int | None
    above_base: int | None
    remark: str
    carries: tuple[Saving, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageReport:
    """One image, which several services may share.

    Attributes:
        image: Its name.
        services: The services that are built to it.
        dockerfile: What it is built from.
        base: The image in FROM; empty where nobody can tell which layers are its own.
        layers: Its layers, from the bottom.
        largest: What takes most of what is above the base.
        savings: What could still go.
        single_stage: The same in one stage; None where that was not asked for.
        remark: What to know of it: that it is an older Dockerfile's.
    """

    image: str
    services: tuple[str, ...]
    dockerfile: str
    base: str
    layers: tuple[LayerReport, ...]
    largest: tuple[tuple[str, int], ...]
    savings: tuple[Saving, ...]
    single_stage: Compared | None = None
    remark: str = ""

    @property
    def bytes(self) -> int:
        """What all its layers take."""
        return sum(layer.bytes for layer in self.layers)

    @property
    def above_base(self) -> int:
        """What the layers above the image in FROM take."""
        return sum(layer.bytes for layer in self.layers if not layer.base)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        largest = [{"path": path, "bytes": size} for path, size in self.largest]
        return {**asdict(self), "largest": largest, "bytes": self.bytes, "above_base": self.above_base}
