"""The connection to the Docker daemon: which one, and what is wrong when it does not answer.

Compose's binary and this client must mean the same daemon: `DOCKER_HOST`, else `DOCKER_CONTEXT`, else the current
context of the Docker CLI's configuration, else the socket of this machine.
"""

from __future__ import annotations

import contextlib
import math
import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gigogne.errors import EngineError

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["connect", "endpoint", "is_local", "telling"]

# A daemon that hangs is to be told soon; once it has answered, a request may take its time.
_FIRST_ANSWER = 10.0
_WITHOUT = "or run without Docker: gigogne --engine process"


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """Where a daemon listens, and what named it. `tls` is the SDK's TLSConfig."""

    url: str
    named_by: str
    tls: Any = None


def connect(*, timeout: float = 60.0) -> DockerClient:
    """A client of the daemon that the Docker CLI and Compose would use, which has answered once.

    Args:
        timeout: How long, in seconds, each request waits for an answer.

    Raises:
        EngineError: No daemon answers, or this user may not ask it; with what to do.
    """
    from docker.errors import DockerException
    from requests import RequestException

    named = _endpoint(os.environ)
    try:
        client = _client(named, math.ceil(min(timeout, _FIRST_ANSWER)))
        client.api.timeout = math.ceil(timeout)
        return client
    except (DockerException, RequestException, OSError) as error:
        raise _explained(error, named) from error


def _client(named: _Endpoint, timeout: int) -> DockerClient:
    """A client that has agreed with the daemon on a version of the API."""
    from docker.client import DockerClient
    from docker.constants import DEFAULT_DOCKER_API_VERSION

    if named.tls is None:
        return DockerClient(named.url, timeout=timeout, use_ssh_client=True)

    def secured(version: str) -> DockerClient:
        client = DockerClient(named.url, version=version, timeout=timeout, tls=named.tls)
        # Else REQUESTS_CA_BUNDLE would be asked who the daemon is, in place of the daemon's own authority.
        client.api.trust_env = False
        return client

    with contextlib.closing(secured(DEFAULT_DOCKER_API_VERSION)) as asking:
        version = str(asking.version(api_version=False)["ApiVersion"])
    return secured(version)


def endpoint() -> str:
    """The address of the daemon that `connect` asks: `unix:///var/run/docker.sock`, `tcp://…`, `ssh://…`.

    Raises:
        EngineError: What names it is wrong: a context that is not there, certificates that are not.
    """
    return _endpoint(os.environ).url


def is_local(client: DockerClient) -> bool:
    """Whether the daemon listens on a socket or a named pipe of this machine."""
    return client.api.base_url in ("http+docker://localhost", "http+docker://localnpipe")


@contextlib.contextmanager
def telling(client: DockerClient) -> Iterator[None]:
    """Turns what the SDK raises within into an EngineError that says what to do."""
    from docker.errors import DockerException
    from requests import RequestException

    try:
        yield
    except (DockerException, RequestException) as error:
        raise _explained(error, _endpoint(os.environ)) from error


def _endpoint(environment: Mapping[str, str]) -> _Endpoint:
    """The daemon that these variables and the configuration of the Docker CLI name.

    Raises:
        EngineError: They name a context that is not there, or certificates that are not.
    """
    from docker.constants import DEFAULT_NPIPE, DEFAULT_UNIX_SOCKET
    from docker.context import ContextAPI
    from docker.errors import TLSParameterError
    from docker.utils import kwargs_from_env

    host = environment.get("DOCKER_HOST")
    if host:
        # The CLI looks at certificates only where they are asked for.
        asked = dict(environment) if environment.get("DOCKER_TLS_VERIFY") else {"DOCKER_HOST": host}
        try:
            return _Endpoint(host, "DOCKER_HOST", kwargs_from_env(environment=asked).get("tls"))
        except TLSParameterError as error:
            folder = environment.get("DOCKER_CERT_PATH") or str(Path.home() / ".docker")
            raise EngineError(
                f"DOCKER_TLS_VERIFY is set, and {folder} does not hold the certificates",
                "let DOCKER_CERT_PATH name the folder with ca.pem, cert.pem and key.pem",
            ) from error
    name = environment.get("DOCKER_CONTEXT")
    try:
        context = ContextAPI.get_context(name)
    except Exception as error:  # the SDK raises Exception itself for a file that is damaged
        raise EngineError(
            f"the Docker context {name or ''} cannot be read: {error}", "see: docker context ls"
        ) from error
    if context is None:
        raise EngineError(f"there is no Docker context {name or 'of the current name'}", "see: docker context ls")
    if context.name != "default" and context.Host:
        return _Endpoint(context.Host.removeprefix("http+"), f"the Docker context {context.name}", context.TLSConfig)
    return _Endpoint(DEFAULT_NPIPE if os.name == "nt" else DEFAULT_UNIX_SOCKET.removeprefix("http+"), "")


def _explained(error: Exception, named: _Endpoint) -> EngineError:
    """What is wrong with the daemon at this endpoint, and what to do."""
    causes = list(_causes(error))
    at = named.url + (f" ({named.named_by})" if named.named_by else "")
    texts = " ".join(map(str, causes))
    if named.url.startswith("ssh://"):
        if "paramiko" in texts:
            return EngineError(f"{at} needs the SSH client of the SDK", "install it: pip install 'docker[ssh]'")
        return EngineError(f"no Docker daemon answers over {at}", f"try: ssh {named.url[6:]} docker version")
    if any(isinstance(cause, PermissionError) for cause in causes):
        return _forbidden(named.url, at)
    if any(isinstance(cause, ssl.SSLError) for cause in causes) or "HTTPS server" in texts:
        return EngineError(
            f"the Docker daemon at {at} and this machine do not trust each other: {_last(causes)}",
            "set DOCKER_TLS_VERIFY=1, and let DOCKER_CERT_PATH name the folder with its ca.pem, cert.pem and key.pem",
        )
    if any(isinstance(cause, (OSError, TimeoutError)) for cause in causes) and not _answered(causes):
        return EngineError(
            f"no Docker daemon answers at {at}",
            f"start Docker, or correct {named.named_by}; {_WITHOUT}"
            if named.named_by
            else "start Docker (in a container: docker run -v /var/run/docker.sock:/var/run/docker.sock), " + _WITHOUT,
        )
    return EngineError(f"the Docker daemon at {at} refuses: {_last(causes)}", "see: docker version")


def _forbidden(url: str, at: str) -> EngineError:
    """Who may not open the socket is told of its group, by number where this is another machine's."""
    group = "its group's number"
    with contextlib.suppress(OSError):
        group = str(Path(url.removeprefix("unix://")).stat().st_gid)
    return EngineError(
        f"you may not use the Docker daemon at {at}",
        "join its group: sudo usermod -aG docker $USER, and log in again "
        f"(for a container: docker run --group-add {group}); {_WITHOUT}",
    )


def _answered(causes: list[BaseException]) -> bool:
    return any(getattr(cause, "response", None) is not None for cause in causes)


def _last(causes: list[BaseException]) -> str:
    """The words of the innermost cause that has some."""
    explained = [str(getattr(cause, "explanation", None) or cause) for cause in causes]
    return next((text for text in reversed(explained) if text), "it did not say why")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it holds: its causes, and the errors among its arguments, as urllib3 keeps them."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        found = waiting.pop(0)
        if not isinstance(found, BaseException) or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        waiting += [found.__cause__, found.__context__, *found.args, getattr(found, "reason", None)]
