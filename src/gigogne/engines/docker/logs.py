"""What a container wrote, read from the daemon as it comes: each line whole, its stream and its time, in flat memory.

The SDK mixes the two streams or drops the times, so the frames of `GET /containers/{id}/logs` are read here: a header
of eight bytes (stream, three zeros, length) and a text, which begins with its time. A container with a terminal has one
stream and no frames.
Source: https://docs.docker.com/reference/api/engine/version/v1.45/#tag/Container/operation/ContainerAttach
"""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

from gigogne.core.engine import Line
from gigogne.errors import EngineError

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["read_logs"]

_HEADER = struct.Struct(">BxxxL")
_STREAMS: dict[int, Literal["stdout", "stderr"]] = {1: "stdout", 2: "stderr"}
# A line longer than this comes in pieces.
_LINE_MAX = 65536
# A connection that broke (a daemon that starts anew) is made again for so long, in seconds.
_PATIENCE = 15.0
_PAUSE = 0.2


def read_logs(
    client: DockerClient, container: str, *, follow: bool, since: float = 0.0, tail: int | None = None
) -> Iterator[Line]:
    """The lines of a container; with `follow` those to come too, until it has ended. One that is gone has none."""
    from docker.errors import NotFound
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    reader, broken, ended = _Reader(f"{since:.9f}" if since else ""), 0.0, not follow
    while True:
        try:
            reader.terminal = client.api.inspect_container(container)["Config"]["Tty"]
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


class _Reader:
    """Puts lines together, and knows where to go on when the connection broke."""

    def __init__(self, since: str) -> None:
        self.since = since
        self.terminal = False
        self._at_since = 0  # how many frames of that very time were read
        self._begun: dict[Literal["stdout", "stderr"], tuple[float, bytes]] = {}

    def lines(self, raw: Any) -> Iterator[Line]:
        """The lines of one response, but those that were read before."""
        seen, again, here = self.since, self._at_since, 0
        for stream, text in _rows(raw) if self.terminal else _frames(raw):
            stamp, _, rest = text.partition(b" ")
            second, nanos = _moment(stamp[:19].decode()), stamp[20:29].decode()
            when = f"{second}.{nanos}"
            if when == seen and here < again:
                here += 1
                continue
            self._at_since = self._at_since + 1 if when == self.since else 1
            self.since = when
            yield from self._whole(stream, rest, float(when))

    def rest(self) -> Iterator[Line]:
        """What was written last, without a line end."""
        for stream, (moment, text) in self._begun.items():
            yield _line(stream, text, moment)

    def _whole(self, stream: Literal["stdout", "stderr"], text: bytes, moment: float) -> Iterator[Line]:
        """The line that this text completes. The daemon cuts long lines; so do we, where they have no end."""
        moment, before = self._begun.pop(stream, (moment, b""))
        text = before + text
        if text.endswith(b"\n") or len(text) >= _LINE_MAX:
            yield _line(stream, text, moment)
        else:
            self._begun[stream] = (moment, text)


def _line(stream: Literal["stdout", "stderr"], text: bytes, moment: float) -> Line:
    return Line(stream, text.decode(errors="replace").rstrip("\r\n"), moment)


def _frames(raw: Any) -> Iterator[tuple[Literal["stdout", "stderr"], bytes]]:
    while header := _exactly(raw, _HEADER.size):
        number, length = _HEADER.unpack(header)
        text = _exactly(raw, length)
        if length and not text:
            raise EOFError
        yield _STREAMS.get(number, "stdout"), text


def _rows(raw: Any) -> Iterator[tuple[Literal["stdout", "stderr"], bytes]]:
    """What a terminal showed, by lines."""
    row = b""
    while piece := raw.read1(4096):
        row += piece
        *whole, row = row.split(b"\n")
        for line in whole:
            yield "stdout", line + b"\n"
    if row:
        yield "stdout", row


def _exactly(raw: Any, size: int) -> bytes:
    """So many bytes, or none at the end.

    Raises:
        EOFError: The connection broke in between.
    """
    found = b""
    while len(found) < size:
        piece = raw.read(size - len(found))
        if not piece:
            if found:
                raise EOFError
            return b""
        found += piece
    return found


@lru_cache(maxsize=4)
def _moment(second: str) -> int:
    """`2026-11-22T02:35:41`, UTC, in seconds since the epoch."""
    return int(datetime.fromisoformat(f"{second}+00:00").timestamp())
