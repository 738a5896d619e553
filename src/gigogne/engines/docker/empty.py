"""An image with nothing in it: for containers that are created and never started. It needs no registry."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["empty_image"]

_NAME = "gigogne/empty:1"


def empty_image(client: DockerClient) -> str:
    """The name of the image; made where the daemon has none yet."""
    from docker.errors import ImageNotFound

    try:
        client.images.get(_NAME)
    except ImageNotFound:
        nothing = io.BytesIO()
        tarfile.open(fileobj=nothing, mode="w").close()
        repository, _, tag = _NAME.partition(":")
        client.api.import_image_from_data(nothing.getvalue(), repository=repository, tag=tag)
    return _NAME
