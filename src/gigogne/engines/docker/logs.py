"""What a container wrote, read from the daemon as it comes, in flat memory.

The SDK mixes the two streams or drops the times, so `GET /containers/{id}/logs` is read here.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from gigogne.core.engine import Line
from gigogne.engines.docker.frames import Position, Reader
from gigogne.errors import EngineError

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["read_logs"]

# A connection that broke (a daemon that starts anew) is made again for so long, in seconds.
_PATIENCE = 15.0
_PAUSE = 0.2


def read_logs(
    client: DockerClient,
    container: str,
    *,
    follow: bool,
    since: float = 0.0,
    tail: int | None = None,
    after: str = "",
) -> Iterator[Line]:
    """The lines of a container; with `follow` those to come too, until it has ended. One that is gone has none.

    With `after`, the lines after the one of that position, each once, whoever has read the others.
    """
    from docker.errors import NotFound
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    position = Position.of(after) if after else Position(f"{since:.9f}" if since else "")
    reader, broken, ended = Reader(position, anchored=tail is None), 0.0, not follow
    while True:
        try:
            if reader.terminal is None:
                reader.terminal = bool(client.api.inspect_container(container)["Config"]["Tty"])
            with contextlib.closing(_ask(client, container, not ended, reader.since, tail)) as response:
                for line in reader.lines(response.raw):
                    tail, broken = None, 0.0  # what was cut off is not asked for again
                    yield line
            if ended:
                break
            # Else its restart policy has started it again. After the end it is read once more, without following:
            # on a busy machine a stream may end before the last words.
            ended = not client.api.inspect_container(container)["State"]["Running"]
        except (NotFound, EngineError):  # it was removed, or the daemon is gone
            break
        except (RequestException, HTTPError, OSError, EOFError):
            broken = broken or time.monotonic()
            if not follow or time.monotonic() - broken > _PATIENCE:
                break
        if not ended:
            time.sleep(_PAUSE)
    yield from reader.rest()


def _ask(client: DockerClient, container: str, follow: bool, since: str, tail: int | None) -> Any:
    from docker.errors import NotFound

    api = client.api
    asked = {"stdout": 1, "stderr": 1, "timestamps": 1, "follow": int(follow), "tail": "all" if tail is None else tail}
    # A string: a float has no room for nanoseconds.
    asked |= {"since": since} if since else {}
    response = api.get(
        f"{api.base_url}/v{api.api_version}/containers/{container}/logs", params=asked, stream=True, timeout=None
    )
    if response.status_code == HTTPStatus.NOT_FOUND:
        raise NotFound(f"the container {container} is gone")
    response.raise_for_status()
    return response
