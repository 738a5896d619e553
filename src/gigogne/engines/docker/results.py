"""The result of a job: a file that it wrote, read from its container when it has ended."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from gigogne.core.engine import RESULT_LIMIT, RESULT_VARIABLE
from gigogne.core.model import Service
from gigogne.errors import EngineError

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["read_result", "result_words"]

_DEFAULT = "/tmp/gigogne-result.json"  # noqa: S108 - in a container of its own


def result_words(service: Service) -> list[str]:
    """The options of `docker compose run` that tell a job where to write its result, unless its files tell it."""
    return [] if RESULT_VARIABLE in service.environment else ["--env", f"{RESULT_VARIABLE}={_DEFAULT}"]


def read_result(client: DockerClient, container: str) -> bytes | None:
    """What a container wrote to the file that its `GIGOGNE_RESULT` names; None where it wrote nothing.

    Raises:
        EngineError: It is too large for a result.
    """
    from docker.errors import NotFound

    try:
        file = _file(client.api.inspect_container(container)["Config"])
        if file is None:
            return None
        chunks, found = client.api.get_archive(container, file)
    except NotFound:
        return None
    if found["size"] > RESULT_LIMIT:
        chunks.close()
        raise EngineError(
            f"the result {file} has {found['size'] / 2**20:.1f} MiB, and may have {RESULT_LIMIT / 2**20:.0f}",
            "write large results to a volume, and their path to GIGOGNE_RESULT",
        )
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        member = archive.next()
        inside = archive.extractfile(member) if member is not None and member.isreg() else None
        return None if inside is None else inside.read() or None


def _file(config: Mapping[str, Any]) -> str | None:
    """Where the result is, from the root of the container."""
    for each in config["Env"] or ():
        name, _, value = each.partition("=")
        if name == RESULT_VARIABLE and value:
            return str(PurePosixPath(config["WorkingDir"] or "/") / value)
    return None
