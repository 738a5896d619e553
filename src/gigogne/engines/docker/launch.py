"""One job in a container of its own: `docker compose run -d`, under a name and labels by which others find it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gigogne.core.engine import State, Status
from gigogne.core.model import Service
from gigogne.engines.docker.compose import Compose, last_words
from gigogne.engines.docker.containers import Containers
from gigogne.engines.docker.results import result_words
from gigogne.errors import EngineError, GigogneError, ServiceError

__all__ = ["launch_job", "refusal"]

_TAKEN = re.compile(r'name "/?[^"]+" is already in use by container "?([0-9a-f]{64})')


def launch_job(
    compose: Compose,
    containers: Containers,
    service: Service,
    name: str,
    labels: Mapping[str, str],
    *,
    detached: bool,
) -> str:
    """Start a job in a container of that name; its id. One of the name that has ended, or never ran, makes room.

    Raises:
        ServiceError: The command is not to be found (127) or cannot be run (126).
        EngineError: Docker refuses, in its own words; or an earlier try runs under that name.
    """
    words = [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
    words += ["--service-ports"] if service.ports else []
    words += ["--no-tty=false"] if service.raw.get("tty") else ["--no-tty"]
    words += result_words(service) if detached else []
    while True:
        done = compose.call("run", "-d", "--no-deps", "-i=false", "--use-aliases", "--name", name, *words, service.name)
        if done.returncode == 0:
            return done.stdout.split()[-1]
        taken = _TAKEN.search(done.stderr)
        if taken is None:
            raise refusal(containers, service, name, done.stderr)
        if containers.status(taken[1]).state is not State.EXITED:
            raise EngineError(
                f"{service.name}: an earlier try still runs, in the container {name}",
                f"wait for its end, or end it: docker stop {name}",
            )
        containers.remove(taken[1])  # by its id: the name may be another's by then


def refusal(containers: Containers, service: Service, container: str, said: str) -> GigogneError:
    """Why Docker did not start a container; the one that it has made in vain is removed."""
    status = containers.status(container) if container else Status(State.EXITED)
    if container:
        containers.remove(container)
    if status.code in (126, 127):
        return ServiceError(
            f"{service.name}: {last_words(status.detail or said)}",
            "look at command: and entrypoint: of the service, and at what the image has",
            service=service.name,
            exit_code=status.code,
        )
    taken = "address already in use" in said or "port is already allocated" in said
    hint = "publish another port, or end what has this one" if taken else "gigogne doctor looks at Docker"
    return EngineError(f"{service.name}: Docker did not start it: {last_words(said)}", hint)
