"""Servers that need no Docker: the table by image name.

Each module of the table is imported only when an image needs it.
"""

from __future__ import annotations

from importlib import import_module

from gigogne.core.images import repository
from gigogne.engines.process.embedded.server import EmbeddedServer

__all__ = ["EMBEDDED_IMAGES", "EmbeddedServer", "embedded_server"]

# Repository, without registry and tag → the class that stands in for it: images whose variables we honour.
_SERVERS = {
    "postgres": "postgres:Postgres",
    "mongo": "mongodb:Mongo",
    "minio/minio": "s3:Minio",
    "chrislusf/seaweedfs": "s3:Seaweed",
}
EMBEDDED_IMAGES = tuple(_SERVERS)
"""The repositories of these images."""


def embedded_server(image: str) -> EmbeddedServer | None:
    """The embedded server for an image, whatever its registry, tag or digest; None when there is none."""
    place = _SERVERS.get(repository(image))
    if place is None:
        return None
    module, _, name = place.partition(":")
    server: EmbeddedServer = getattr(import_module(f"{__name__}.{module}"), name)(image)
    return server
