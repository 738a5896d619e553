"""A server that answers until SIGTERM, and then to the end of what was asked."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FrameType

import uvicorn
from prometheus_client import disable_created_metrics
from starlette.types import ASGIApp

from job.errors import JobError, SettingError
from job.program import tell
from web.observing import Draining
from web.protocol import Protocol
from web.settings import ServerSettings

__all__ = ["Server", "allow_connections", "listen", "run", "serve"]

# For what was asked before the end to be answered.
ANSWER_SECONDS = 10
# For a client that has connected to ask.
LAST_SECONDS = 0.5
# Idle connections of clients are kept for longer than those of proxies are used.
KEEP_ALIVE_SECONDS = 75

# Connections that wait to be accepted.
BACKLOG = 2048
# For how long a thread has the interpreter when requests wait: those that load a model, and save what is kept.
SWITCH_SECONDS = 0.001
# Files and connections of a process.
ENOUGH = 65_536

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

log = logging.getLogger("web")


class Server(uvicorn.Server):
    """uvicorn's, which goes on for a while after SIGTERM: hardly anybody who could not know of it is turned away.

    A connection that is complete between the last look and the close of the listener is reset: no system lets a program
    stop to listen, and accept who is there already, in one step.

    Args:
        config: uvicorn's.
        listener: What clients connect to.
        draining: What clients are told by.
        patience: For how many seconds it goes on.
    """

    def __init__(self, config: uvicorn.Config, listener: socket.socket, draining: Draining, patience: float) -> None:
        super().__init__(config)
        # A second hold on it: uvicorn lets go of its own while connections may still wait to be accepted.
        self._listener = listener.dup()
        self._draining, self._patience = draining, patience
        self._until = float("inf")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; at Ctrl-C, or the second signal, end now."""
        again, self._draining.begun = self._draining.begun, True
        self._until = time.monotonic() + (0 if again or sig == signal.SIGINT else self._patience)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and say where."""
        await super().startup(sockets)
        host, port = self._listener.getsockname()[:2]
        log.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)

    async def on_tick(self, counter: int) -> bool:
        """Whether it is time to end."""
        return await super().on_tick(counter) or time.monotonic() >= self._until

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept those who are connected already, then nobody; end when all have their answers."""
        for server in self.servers:
            server.close()
        waiting = list(self._accept())
        self._listener.close()
        for client in waiting:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, client)
        # Whoever was let in last is about to ask; uvicorn hangs up on those who have not.
        until = time.monotonic() + LAST_SECONDS
        while self.server_state.connections and time.monotonic() < until:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)

    def _accept(self) -> Iterator[socket.socket]:
        """The connections that wait to be accepted."""
        self._listener.setblocking(False)
        # Nobody waits any more; or one has gone, and the few who may have come after it find nobody listening.
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.setblocking(False)
                yield client

    def _protocol(self) -> Protocol:
        return Protocol(self.config, self.server_state, self.lifespan.state)


def run(work: Callable[[], None]) -> int:
    """Make this process one that serves, and do that; its exit code, and a line on stderr where it cannot serve."""
    _prepare()
    try:
        work()
    except JobError as error:
        tell(error)
        return error.exit_code
    return 0


def _prepare() -> None:
    """Its log, its connections, its threads."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    # What clients do wrong is counted, and not told of: whoever sends nonsense would fill the log.
    for name in ("uvicorn.error", "urllib3", "pymongo"):
        logging.getLogger(name).setLevel(logging.ERROR)
    disable_created_metrics()  # type: ignore[no-untyped-call]
    allow_connections()
    sys.setswitchinterval(SWITCH_SECONDS)


def allow_connections() -> None:
    """Have as many connections at a time as the system lets a process have; macOS begins with 256."""
    if resource is not None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most if 0 < most < ENOUGH else ENOUGH, most))


def listen(settings: ServerSettings) -> socket.socket:
    """What clients connect to.

    Raises:
        SettingError: The address is not this machine's, or the port is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        why = error.strerror or "no such name"
        place = f"{settings.prefix}_HOST={settings.host}, {settings.prefix}_PORT={settings.port}"
        raise SettingError(f"{place}: {why}: end what listens there, or set another") from None


def serve(
    app: ASGIApp, listener: socket.socket, draining: Draining, patience: float, *, lifespan: bool = False
) -> None:
    """Answer until a signal comes, and go on for so many seconds after it.

    Args:
        app: What answers.
        listener: What clients connect to.
        draining: What clients are told by.
        patience: For how many seconds it goes on.
        lifespan: Whether the application has something to begin and to end.
    """
    # What is there by now is there to stay: the garbage collector need not look at it again and again.
    gc.freeze()
    Server(configuration(app, lifespan), listener, draining, patience).run([listener])


def configuration(app: ASGIApp, lifespan: bool) -> uvicorn.Config:
    """How uvicorn serves it: what it would log is counted, and clients are whoever connects, whatever they say."""
    return uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="on" if lifespan else "off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=ANSWER_SECONDS,
    )
