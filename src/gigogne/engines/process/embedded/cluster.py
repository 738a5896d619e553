"""The data directory of PostgreSQL: made whole or not at all, and checked before a server sees it."""

from __future__ import annotations

import secrets
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from filelock import FileLock

from gigogne.core.model import Service
from gigogne.engines.process.embedded.initdb import private_directory, run_scripts
from gigogne.engines.process.embedded.programs import Programs
from gigogne.errors import EngineError

__all__ = ["MAJOR", "Settings", "prepare_data"]

MAJOR = "18"
_LOCK = "postmaster.pid"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the official image reads from the environment, with its defaults."""

    user: str
    database: str
    method: str
    timezone: str
    password: str = field(repr=False)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Settings:
        """Those of a service."""
        user = environment.get("POSTGRES_USER") or "postgres"
        return cls(
            user=user,
            database=environment.get("POSTGRES_DB") or user,
            method=environment.get("POSTGRES_HOST_AUTH_METHOD") or "scram-sha-256",
            timezone=environment.get("TZ") or "UTC",
            password=environment.get("POSTGRES_PASSWORD", ""),
        )

    def for_scripts(self) -> dict[str, str]:
        """What the scripts of an initialisation get."""
        return {
            "POSTGRES_USER": self.user,
            "POSTGRES_DB": self.database,
            "POSTGRES_PASSWORD": self.password,
            "PGPASSWORD": self.password,
            "TZ": self.timezone,
        }


def prepare_data(
    service: Service,
    settings: Settings,
    cluster: Path,
    programs: Programs,
    flags: Sequence[str],
    progress: Callable[[str], None],
) -> None:
    """Make the data directory when it is new, and see that a server can take it.

    Args:
        service: The service.
        settings: What its environment says.
        cluster: The data directory.
        programs: How the programs of PostgreSQL are run here.
        flags: The settings of its command, as `-c name=value`.
        progress: Is told what takes long.

    Raises:
        EngineError: It cannot be made, or is not ours to take.
    """
    with FileLock(cluster.parent / ".pgdata.lock"):
        for unfinished in cluster.parent.glob(".pgdata.new-*"):
            _end_server_of(unfinished)
            shutil.rmtree(private_directory(unfinished), ignore_errors=True)
            shutil.rmtree(unfinished, ignore_errors=True)
        if not cluster.exists():
            _refuse_foreign(cluster.parent)
            with _made(cluster) as new:
                _initialise(service, settings, new, programs)
                run_scripts(service, settings.for_scripts(), new, programs, flags, progress)
    version = (
        (cluster / "PG_VERSION").read_text().strip() if (cluster / "PG_VERSION").exists() else "an unknown version"
    )
    if version != MAJOR:
        raise EngineError(
            f"service {service.name!r}: {cluster} holds data of PostgreSQL {version}, and PostgreSQL {MAJOR} "
            "cannot read it",
            "dump it with the version that wrote it and load it anew, or delete it with `gigogne down -v`",
        )
    _drop_stale_pid(cluster)


def _refuse_foreign(volume: Path) -> None:
    """Raise when the volume is a directory that a container of the official image filled."""
    for place in (volume, volume / "data", *volume.glob("*/docker")):
        mark = place / "PG_VERSION"
        if mark.exists():
            raise EngineError(
                f"{place} holds data that a container of PostgreSQL {mark.read_text().strip()} wrote",
                "Gigogne does not touch it: give the service a named volume, or another directory",
            )


@contextmanager
def _made(cluster: Path) -> Iterator[Path]:
    """A new directory beside the cluster's place, which is renamed to it in the end, or goes away."""
    new = cluster.parent / f".pgdata.new-{secrets.token_hex(4)}"
    new.mkdir(mode=0o700)
    try:
        yield new
        new.rename(cluster)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _initialise(service: Service, settings: Settings, new: Path, programs: Programs) -> None:
    """Make a cluster with its password and its database.

    The password goes to a single-user server through a pipe: it is never in a file or on a command line, and the
    server that listens has it from its first moment.
    """
    programs.give(new)
    chosen = shlex.split(service.environment.get("POSTGRES_INITDB_ARGS", ""))
    locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    if any(word.startswith(("--locale", "--lc-", "--icu", "--builtin", "--no-locale")) for word in chosen):
        locale = []
    programs.run(
        # `trust` is for its own file of access rules only, which the next lines replace
        "initdb", "-D", str(new), "-U", settings.user, "-A", "trust", "-E", "UTF8", *locale, *chosen,
    )  # fmt: skip
    (new / "pg_hba.conf").write_text(
        f"# Written by Gigogne when it made this directory. There is no Unix socket.\n"
        f"host all all all {settings.method}\n"
    )
    statements = []
    if settings.password:
        statements.append(f"ALTER ROLE {_name(settings.user)} PASSWORD {_literal(settings.password)};\n\n")
    if settings.database not in ("postgres", "template1"):
        statements.append(f"CREATE DATABASE {_name(settings.database)};\n\n")
    if statements:
        programs.run(
            "postgres", "--single", "-D", str(new), "-j", "-c", "exit_on_error=on",
            "-c", "log_min_error_statement=panic",  # an error must not repeat the password
            "-c", "log_checkpoints=off", "postgres", text="".join(statements),
        )  # fmt: skip


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    """A string literal on one line: a line end would end the statement of a single-user server."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"E'{escaped}'"


def _drop_stale_pid(cluster: Path) -> None:
    """Remove the pid file of a killed server whose process id another program of this user has now.

    PostgreSQL recovers from any other stale file by itself, but takes a live process of its own user for a server.
    """
    process = _process_of(cluster)
    try:
        if process and process.pid > 1 and "postgres" not in process.name():
            (cluster / _LOCK).unlink()
    except (OSError, psutil.Error):
        return


def _end_server_of(unfinished: Path) -> None:
    """End the server that ran the scripts of an initialisation that was killed, where it was not killed with it."""
    process = _process_of(unfinished)
    with suppress(psutil.Error):
        if process and str(unfinished) in process.cmdline():
            process.kill()
            process.wait(5)


def _process_of(cluster: Path) -> psutil.Process | None:
    """The process that the pid file of a data directory names, where there is one."""
    try:
        return psutil.Process(int((cluster / _LOCK).read_text().splitlines()[0]))
    except (OSError, ValueError, IndexError, psutil.Error):
        return None
