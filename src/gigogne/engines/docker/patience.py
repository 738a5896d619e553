"""Requests to a daemon that goes away: asked again while it may come back, told plainly when it does not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gigogne.errors import EngineError

if TYPE_CHECKING:
    from docker import DockerClient
    from requests import PreparedRequest, Response
    from requests.adapters import BaseAdapter

__all__ = ["Silence", "be_patient"]

# So long, in seconds: a daemon that starts anew first gives the containers that it finds ten seconds to end.
_PATIENCE, _PAUSE = 20.0, 0.3
# What may be asked twice when nobody knows whether it arrived. A container made twice would be one too many.
_REPEATABLE = ("GET", "HEAD", "DELETE")
_REPEATABLE_POSTS = ("/stop", "/kill", "/wait")


def be_patient(client: DockerClient) -> Silence:
    """Let all requests of a client, which has reached its daemon, wait for a daemon that starts anew.

    They raise an EngineError when it does not come back, and after that at once.
    """
    silence = Silence()
    for prefix, adapter in list(client.api.adapters.items()):
        client.api.mount(prefix, _patient(adapter, silence))
    return silence


class Silence:
    """How long a daemon does not answer.

    Attributes:
        times: How often it has fallen silent so far.
    """

    def __init__(self) -> None:
        self.times = 0
        self._began = 0.0
        self._patience = _PATIENCE

    def hurry(self) -> None:
        """It is not waited for any more: who pressed Ctrl-C wants to go."""
        self._patience = 0.0

    def ends(self) -> None:
        """It has answered."""
        self._began = 0.0

    def goes_on(self) -> bool:
        """It has not answered; whether that has lasted too long."""
        if not self._began:
            self._began = time.monotonic()
            self.times += 1
        return time.monotonic() - self._began >= self._patience


def _patient(adapter: BaseAdapter, silence: Silence) -> BaseAdapter:
    """An adapter of requests in front of another one."""
    import requests
    from requests.adapters import BaseAdapter as Base

    class Patient(Base):
        def send(self, request: PreparedRequest, *args: Any, **options: Any) -> Response:
            while True:
                try:
                    answer = adapter.send(request, *args, **options)
                except requests.ReadTimeout as error:
                    raise _given_up("is too busy to answer") from error
                except requests.ConnectionError as error:
                    if not (_has_not_arrived(error) or _repeatable(request)) or silence.goes_on():
                        raise _given_up("does not answer any more") from error
                    time.sleep(_PAUSE)
                else:
                    silence.ends()
                    return answer

        def close(self) -> None:
            adapter.close()

    return Patient()


def _given_up(why: str) -> EngineError:
    from gigogne.engines.docker.connection import endpoint

    return EngineError(
        f"the Docker daemon at {endpoint()} {why}",
        "start it, then type the same command again: what this run left is found and cleaned up then",
    )


def _repeatable(request: PreparedRequest) -> bool:
    path = (request.url or "").partition("?")[0]
    return request.method in _REPEATABLE or path.endswith(_REPEATABLE_POSTS)


def _has_not_arrived(error: BaseException) -> bool:
    """Whether nobody was there to take the request: refused, or the socket is gone."""
    from urllib3.exceptions import NewConnectionError

    nobody = (ConnectionRefusedError, FileNotFoundError, NewConnectionError)
    return any(isinstance(cause, nobody) for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
