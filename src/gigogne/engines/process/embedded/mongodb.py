"""MongoDB's stand-in for the official `mongo` images: SecantusDB, from the wheel of that name.

There is no wheel of the real server. SecantusDB speaks its protocol over its storage engine, WiredTiger, and is a
beta: its title says so wherever it is shown. It is a program of its own, in an environment of its own. Its data lie
in `secantusdb` under the volume, made beside it and renamed, so that they are there whole or not at all.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gigogne.core.model import Problem, Service
from gigogne.engines.process.addresses import Endpoint
from gigogne.engines.process.cache import make_once, remove_tree
from gigogne.engines.process.command import Command
from gigogne.engines.process.embedded import users
from gigogne.engines.process.embedded.mongod import MongodRequest, mongod_request
from gigogne.engines.process.embedded.opmsg import CommandError, Connection
from gigogne.engines.process.embedded.provision import end_leftover, provision
from gigogne.engines.process.embedded.server import base_environment, problem, refuse_taken_port, writing
from gigogne.engines.process.embedded.wheels import ServerEnvironment, executable
from gigogne.engines.process.paths import Paths
from gigogne.errors import EngineError

__all__ = ["WHEEL", "Mongo"]

WHEEL = ServerEnvironment("secantusdb", "==0.7.0b3", newest="3.13")
_LOGIN_FAILED = (18, 11)  # AuthenticationFailed, UserNotFound
_UNAUTHORIZED = 13


@dataclass(frozen=True, slots=True)
class Mongo:
    """SecantusDB 0.7, whatever the tag."""

    image: str

    @property
    def title(self) -> str:
        """See `EmbeddedServer`."""
        return f"SecantusDB 0.7 (wheel {WHEEL.name}), a beta stand-in for {self.image}"

    def port(self, service: Service) -> int:
        """See `EmbeddedServer`."""
        return mongod_request(service).port

    def data_target(self, service: Service) -> str:
        """See `EmbeddedServer`."""
        return mongod_request(service).data_target

    def check(self, service: Service) -> list[Problem]:
        """See `EmbeddedServer`."""
        request = mongod_request(service)
        found = list(request.problems)
        if sys.platform == "darwin" and os.uname().machine == "x86_64":
            found.append(
                problem(service, "image", f"the wheel {WHEEL.name} has no build for Macs with an Intel processor",
                        "run this service with Docker, or point the jobs to a MongoDB elsewhere")
            )  # fmt: skip
        found.append(
            problem(service, "image", "runs SecantusDB, a beta that speaks MongoDB's protocol on one node, slowly; "
                    "keep no data in it that you cannot make again", fatal=False)
        )  # fmt: skip
        if not request.user:
            found.append(
                problem(service, "environment.MONGO_INITDB_ROOT_USERNAME", "is not set: every user of this machine is "
                        "let in without a password", fatal=False)
            )  # fmt: skip
        return found

    def prepare(self, paths: Paths, progress: Callable[[str], None]) -> None:
        """See `EmbeddedServer`."""
        WHEEL.install(paths, progress, "SecantusDB")

    def command(
        self,
        service: Service,
        at: Endpoint,
        data: Path,
        runtime: Path,
        paths: Paths,
        bwrap: Path | None,
        progress: Callable[[str], None],
    ) -> Command:
        """See `EmbeddedServer`."""
        request = mongod_request(service)
        program = executable(WHEEL.installed(paths) / WHEEL.program)
        refuse_taken_port(service, self.title, at)
        store, watched = data / "secantusdb", data / ".secantusdb.init"
        with writing(data):
            data.mkdir(parents=True, exist_ok=True)
            runtime.mkdir(parents=True, exist_ok=True)
            prefix, account = _identity(bwrap, store, (data, program, program.resolve()))

            def command(at: Endpoint, store: Path, *, auth: bool) -> Command:
                argv = (*prefix, str(program), *_arguments(request, at, store, runtime, auth=auth))
                user = account.uid if account else None
                return Command(argv, base_environment(), runtime, user, sandboxed=bool(prefix))

            def make(new: Path) -> None:
                _refuse_foreign(data)
                end_leftover(watched)
                remove_tree(new)
                new.mkdir(mode=0o700)
                if account:
                    os.chown(new, account.uid, account.gid)
                provision(request, lambda at: command(at, new, auth=False), watched)

            (runtime / "secantusd.toml").touch()  # it would look for one in other places
            if account:
                users.give(runtime, account)
            make_once(store, make, progress)
        return command(at, store, auth=bool(request.user))

    def ready(self, service: Service, at: Endpoint) -> bool:
        """See `EmbeddedServer`: a login of the root user, or a list of databases where there is none."""
        request = mongod_request(service)
        try:
            with Connection(at) as connection:
                if request.user:
                    connection.log_in(request.user, request.password)
                connection.command({"listDatabases": 1, "nameOnly": True})
        except CommandError as error:
            if error.code in (*_LOGIN_FAILED, _UNAUTHORIZED):
                raise EngineError(
                    f"service {service.name!r}: the MongoDB at {at} refuses user {request.user!r}: {error}. Its volume "
                    "was initialised with another MONGO_INITDB_ROOT_USERNAME or MONGO_INITDB_ROOT_PASSWORD, and the "
                    "official image reads these only once",
                    "give the earlier values back, change them in the database, or start anew with `gigogne down -v` "
                    "(which deletes the data)",
                ) from None
            return False
        except OSError:
            return False
        return True


def _identity(
    bwrap: Path | None, store: Path, reached: tuple[Path, ...]
) -> tuple[tuple[str, ...], users.Account | None]:
    """What stands before the server, and as whom it runs, when the caller is root."""
    if not users.is_root():
        return (), None
    if bwrap:
        users.give(store, users.Account((0, 0)))
        return tuple(users.within_user_namespace(bwrap, users.nobody())), None
    account = users.nobody()
    users.refuse_unreachable(reached, account)
    users.give(store, account)
    return (), account


def _refuse_foreign(volume: Path) -> None:
    """Raise when the volume is a directory that a container of the official image filled."""
    if (volume / "WiredTiger").exists():
        raise EngineError(
            f"{volume} holds data that a container of MongoDB wrote",
            "Gigogne does not touch it: give the service a named volume, or another directory",
        )


def _arguments(request: MongodRequest, at: Endpoint, store: Path, runtime: Path, *, auth: bool) -> list[str]:
    return [
        "-I", "-m", "secantus", "--config", str(runtime / "secantusd.toml"), "--host", at.address,
        "--port", str(at.port), "--storage-path", str(store), "--log-level", "WARNING",
        # One node, as the image without --replSet. A write that was acknowledged is on the disk.
        "--standalone", "--sync-on-commit", "--cache-size", f"{request.cache_mb}M", *(["--auth"] if auth else []),
    ]  # fmt: skip
