"""Containers that are created and never started: of an image with nothing in it, which needs no registry."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["create_empty"]

_NAME = "gigogne/empty:1"


def create_empty(client: DockerClient, **settings: Any) -> str:
    """Create a container of that image, with these settings of the SDK's `create_container`; its id.

    Raises:
        APIError: The daemon refuses: the name is taken (409), or what is to be mounted is not there.
    """
    from docker.errors import ImageNotFound

    try:
        made = client.api.create_container(_NAME, ["-"], **settings)
    except ImageNotFound:
        nothing = io.BytesIO()
        tarfile.open(fileobj=nothing, mode="w").close()
        repository, _, tag = _NAME.partition(":")
        client.api.import_image_from_data(nothing.getvalue(), repository=repository, tag=tag)
        made = client.api.create_container(_NAME, ["-"], **settings)
    return str(made["Id"])
