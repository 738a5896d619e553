"""The relay that publishes a service's `ports:`: a process that lives as long as the service.

    python -m gigogne.engines.process.publish DIRECTORY [--everywhere] 127.0.0.1:8080=127.64.3.7:8000 …

DIRECTORY is the service's own, with its status file: a relay outlives the supervisor as the service does, and ends
with it. With `--everywhere` the service itself may listen on every address of this machine.
"""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from gigogne.engines.process.addresses import Endpoint
from gigogne.engines.process.embedded.relay import accept_for
from gigogne.engines.process.processes import Process
from gigogne.engines.session import own_session

__all__ = ["PUBLISHED", "main", "publish"]

# The file in the service's directory that says that the relay listens.
PUBLISHED = "published"

_POLL = 0.05
# A relay may have to wait until that of the try before has let go of the port.
_PATIENCE = 5.0
# How often it looks whether a port has become free that the service has itself, or a stranger for a while.
_LONG_POLL = 0.5


def publish(ports: Mapping[Endpoint, Endpoint], directory: Path, *, everywhere: bool) -> subprocess.Popen[bytes] | None:
    """Start the relay of a service that has just been started; None where it publishes nothing.

    Args:
        ports: Where to listen → where the service is.
        directory: The service's own directory.
        everywhere: Whether the service may listen on every address itself, and so be there already.
    """
    pairs = [f"{at}={target}" for at, target in ports.items() if at != target]
    if not pairs:
        return None
    flags = ["--everywhere"] if everywhere else []
    argv = [sys.executable, "-m", "gigogne.engines.process.publish", str(directory), *flags, *pairs]
    with (directory / "publish.log").open("ab") as log:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory, **own_session())


def _listen(at: Endpoint) -> socket.socket:
    family = socket.AF_INET6 if ":" in at.address else socket.AF_INET
    return socket.create_server((at.address, at.port), family=family, backlog=256)


def _answers(at: Endpoint) -> bool:
    try:
        socket.create_connection((at.address, at.port), timeout=1).close()
    except OSError:
        return False
    return True


def _relay(at: Endpoint, target: Endpoint, everywhere: bool, listens: threading.Semaphore) -> None:
    """Listen, as soon as nobody else does.

    A service that listens on every address is there itself, and stays; a stranger that does may be gone one day.
    """
    patience, poll = _PATIENCE, _POLL
    if everywhere and at.port == target.port:
        while not _answers(target):
            time.sleep(_POLL)
        if _answers(at):
            patience, poll = math.inf, _LONG_POLL
    deadline = time.monotonic() + patience
    while True:
        try:
            listener = _listen(at)
            break
        except OSError as error:
            if time.monotonic() > deadline:
                sys.stderr.write(f"cannot listen on {at}: {error.strerror}\n")
                listens.release()
                return
            time.sleep(poll)
    listens.release()
    accept_for(listener, f"tcp:{target}")


def main(arguments: Sequence[str]) -> None:
    """Relay until the service ends."""
    directory, *pairs = arguments
    everywhere = "--everywhere" in pairs
    process = Process.read(Path(directory))
    if process is None:
        return
    listens = threading.Semaphore(0)
    for pair in pairs[everywhere:]:
        at, target = (Endpoint(a, int(p)) for a, _, p in (end.rpartition(":") for end in pair.split("=")))
        threading.Thread(target=_relay, args=(at, target, everywhere, listens), daemon=True).start()
    # Where the service itself may listen there, it is its own affair when.
    for _ in () if everywhere else pairs:
        listens.acquire()
    (Path(directory) / PUBLISHED).touch()
    process.ended(None)
    os._exit(0)  # threads may still hold connections, and they are of no use any more


if __name__ == "__main__":
    threading.stack_size(256 * 1024)
    main(sys.argv[1:])
