"""Which instruction of a Dockerfile made which layer: the image's history, held against the file."""

from __future__ import annotations

import re
from dataclasses import dataclass

from e2b_dockerfile_utils import DockerfileInstruction

from gigogne.core.masking import mask
from gigogne.engines.docker.layers.archive import SavedImage
from gigogne.engines.docker.layers.stages import Dockerfile, Stage

__all__ = ["Made", "Makers", "makers_of"]

_KEYWORDS = frozenset(
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME "
    "WORKDIR".split()
)
_WITHOUT_FILES = re.compile(r"/bin/sh -c #\(nop\)\s+")  # how the builder before BuildKit writes all but RUN
# A RUN is written behind the values of all build arguments, secret or not.
_ARGUMENTS = re.compile(r"(RUN )?\|\d+ .*?(?=/bin/(ba)?sh -\w*c )", re.S)
_SOME_ARGUMENTS = re.compile(r"(RUN )?\|\d+ .*", re.S)


@dataclass(frozen=True, slots=True)
class Made:
    """What made a layer: the instruction, and the line it stands on, 0 where that is another image's."""

    instruction: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class Makers:
    """What made each layer of an image.

    Attributes:
        base: How many layers, from the bottom, are those of the image in FROM; None where nothing tells it.
        layers: What made each.
        current: Whether the image was built from the Dockerfile as it is now.
    """

    base: int | None
    layers: tuple[Made, ...]
    current: bool = True


def makers_of(image: SavedImage, dockerfile: Dockerfile, stage: Stage, base: int | None) -> Makers:
    """What made the layers of an image that this stage of this Dockerfile was built to.

    Args:
        image: The image.
        dockerfile: What it should have been built from.
        stage: The stage that was built.
        base: How many layers it shares with the image in FROM, where the daemon has that one.
    """
    instructions = [instruction for part in dockerfile.chain(stage) for instruction in part.body]
    matched = _matched(image, instructions)
    made = [Made(_plainly(layer.created_by)) for layer in image.layers]
    if matched is None:
        return Makers(base, tuple(made), current=False)
    own = len(image.layers)
    for (_, number), instruction in zip(image.history[matched:], instructions, strict=False):
        if number is not None:
            own = min(own, number)
            made[number] = Made(" ".join(instruction.original.split()), instruction.start_line)
    return Makers(own, tuple(made))


def _matched(image: SavedImage, instructions: list[DockerfileInstruction]) -> int | None:
    """Where in the history the instructions begin; None where it tells of others."""
    wanted = [instruction.name for instruction in instructions]
    told = [_keyword(words) for words, _ in image.history]
    # The labels that Compose adds are a last step of the builder before BuildKit.
    for end in (len(told), len(told) - 1):
        begin = end - len(wanted)
        if begin >= 0 and told[begin:end] == wanted and set(told[end:]) <= {"LABEL"}:
            return begin
    return None


def _keyword(created_by: str) -> str:
    word = _WITHOUT_FILES.sub("", created_by).partition(" ")[0]
    return word if word in _KEYWORDS else "RUN"


def _plainly(created_by: str) -> str:
    """The builder's words without the values of build arguments."""
    words = _WITHOUT_FILES.sub("", created_by).removesuffix(" # buildkit")
    words = _ARGUMENTS.sub("RUN ", words)
    words = _SOME_ARGUMENTS.sub("RUN …", words)
    return mask("", " ".join(words.split()))
