"""What a service asks of MongoDB, in the words of the official image: `mongod`'s flags, and MONGO_INITDB_ variables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from gigogne.core.model import MountType, Problem, Service
from gigogne.engines.process.embedded.secret_files import secret_problems, with_secrets
from gigogne.engines.process.embedded.server import problem

__all__ = ["MongodRequest", "mongod_request"]

_SECRETS = ("MONGO_INITDB_ROOT_USERNAME", "MONGO_INITDB_ROOT_PASSWORD", "MONGO_INITDB_DATABASE")
_SCRIPTS = PurePosixPath("/docker-entrypoint-initdb.d")
_CACHE_MB = 256
# Flags that change nothing for the service's clients, or that say where it listens, which is decided here.
_VALUELESS = frozenset(
    "auth bind_ip_all directoryperdb ipv6 journal nounixsocket quiet wiredTigerDirectoryForIndexes".split()
)
_WITH_VALUE = frozenset("bind_ip dbpath port slowms storageEngine wiredTigerCacheSizeGB".split())


@dataclass(frozen=True, slots=True)
class MongodRequest:
    """A MongoDB as a service wants it, and what of it cannot be had. `user` is empty for no authentication."""

    user: str = ""
    password: str = field(default="", repr=False)
    port: int = 27017
    data_target: str = "/data/db"
    cache_mb: int = _CACHE_MB
    problems: tuple[Problem, ...] = ()


def mongod_request(service: Service) -> MongodRequest:
    """What a service asks for."""
    found = secret_problems(service, _SECRETS)
    environment = service.environment if found else with_secrets(service, _SECRETS).environment
    user = environment.get("MONGO_INITDB_ROOT_USERNAME", "")
    password = environment.get("MONGO_INITDB_ROOT_PASSWORD", "")
    if bool(user) is not bool(password) and not found:
        lacking = "MONGO_INITDB_ROOT_PASSWORD" if user else "MONGO_INITDB_ROOT_USERNAME"
        found.append(problem(service, f"environment.{lacking}", "is not set, and the other one of user and password is",
                             "set both, or none for a server without authentication"))  # fmt: skip
    if set(user) & set("=,"):  # it does not undo what SCRAM makes of them
        found.append(problem(service, "environment.MONGO_INITDB_ROOT_USERNAME", "the stand-in for MongoDB lets no user "
                             "in whose name has = or a comma", "choose another name"))  # fmt: skip
    flags, refused = _flags(service)
    found += refused
    if "auth" in flags and not user:
        found.append(problem(service, "command", "--auth without a user lets nobody in",
                             "set MONGO_INITDB_ROOT_USERNAME and MONGO_INITDB_ROOT_PASSWORD"))  # fmt: skip
    if service.entrypoint is not None:
        found.append(problem(service, "entrypoint", "an entrypoint of your own cannot run in an embedded server",
                             "leave it out, or build a Dockerfile"))  # fmt: skip
    port = flags.get("port", "27017")
    cache = flags.get("wiredTigerCacheSizeGB", "")
    return MongodRequest(
        user=user,
        password=password,
        port=int(port) if port.isdecimal() else 27017,
        data_target=flags.get("dbpath", "/data/db"),
        cache_mb=max(1, round(float(cache) * 1024)) if _is_number(cache) else _CACHE_MB,
        problems=(*found, *_script_problems(service)),
    )


def _flags(service: Service) -> tuple[dict[str, str], list[Problem]]:
    """The flags of the command, and what of it is not understood."""
    words = list(service.command or ())
    if words and words[0] == "mongod":
        words.pop(0)
    flags: dict[str, str] = {}
    refused: list[Problem] = []
    while words:
        word = words.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name not in _VALUELESS | _WITH_VALUE:
            refused.append(_unsupported(service, word.partition("=")[0]))
            while words and not words[0].startswith("-"):  # its value
                words.pop(0)
            continue
        if name in _WITH_VALUE and not equals:
            value = words.pop(0) if words else ""
        flags[name] = value
        if not _is_valid(name, value):
            refused.append(_unsupported(service, f"--{name} {value}"))
    return flags, refused


def _is_valid(name: str, value: str) -> bool:
    if name == "port":
        return value.isdecimal() and 0 < int(value) < 65536
    if name == "wiredTigerCacheSizeGB":
        return _is_number(value)
    return value == "wiredTiger" if name == "storageEngine" else True


def _is_number(text: str) -> bool:
    try:
        return 0 < float(text) < 10_000
    except ValueError:
        return False


def _unsupported(service: Service, what: str) -> Problem:
    message = f"{what} is not supported without Docker"
    if what == "--replSet":
        message += ": the stand-in is one node, without a replica set"
    return problem(service, "command", message, "leave it out, or run this service with docker compose")


def _script_problems(service: Service) -> Iterator[Problem]:
    """The scripts that the official image would run: they are written for mongosh, of which there is no wheel."""
    for mount in service.mounts:
        target = PurePosixPath(mount.target)
        if not target.is_relative_to(_SCRIPTS) or mount.type is MountType.TMPFS:
            continue
        source = Path(mount.source)
        names = sorted(source.iterdir()) if source.is_dir() else [source]
        scripts = [path for path in names if path.suffix in (".js", ".sh")]
        for script in scripts or ([source] if mount.type is MountType.VOLUME else []):
            yield problem(service, "volumes", f"{script} is a script for mongosh, which needs Docker",
                          "create what it creates from a job (pymongo), which others wait for")  # fmt: skip
