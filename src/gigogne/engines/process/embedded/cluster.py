"""The data directory of PostgreSQL: made whole or not at all, and checked before a server sees it."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from gigogne.core.model import Service
from gigogne.engines.process.embedded import users
from gigogne.engines.process.embedded.wheels import executable
from gigogne.errors import EngineError

__all__ = ["MAJOR", "Programs", "Settings", "prepare_data"]

MAJOR = "18"


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


@dataclass(frozen=True, slots=True)
class Programs:
    """How the programs of PostgreSQL are run here: by whom, and behind which bubblewrap."""

    directory: Path
    prefix: tuple[str, ...]
    account: users.Account | None
    environment: Mapping[str, str] = field(repr=False)

    def argv(self, program: str, *arguments: str) -> tuple[str, ...]:
        """The command line of a program."""
        return (*self.prefix, str(executable(self.directory / program)), *arguments)

    def run(self, program: str, *arguments: str, text: str = "") -> None:
        """Run one to its end; `text` is its standard input, which no one else can read."""
        who: dict[str, object] = {}
        if self.account:
            who = {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}
        argv = list(self.argv(program, *arguments))
        if self.prefix:  # an initialisation must not go on when nobody waits for it any more
            argv.insert(1, "--die-with-parent")
        done = subprocess.run(
            argv,
            env=dict(self.environment),
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            cwd=self.directory,
            **who,  # type: ignore[call-overload]
        )
        if done.returncode:
            last = "\n".join(line for line in done.stdout.splitlines()[-4:] if line.strip())
            raise EngineError(f"{program} of PostgreSQL failed:\n{last}", "see the message of PostgreSQL above")


def prepare_data(service: Service, settings: Settings, cluster: Path, programs: Programs) -> None:
    """Make the data directory when it is new, and see that a server can take it.

    Raises:
        EngineError: It cannot be made, or is not ours to take.
    """
    with FileLock(cluster.parent / ".pgdata.lock"):
        for unfinished in cluster.parent.glob(".pgdata.new-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        if not cluster.exists():
            _refuse_foreign(cluster.parent)
            _initialise(service, settings, cluster, programs)
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


def _initialise(service: Service, settings: Settings, cluster: Path, programs: Programs) -> None:
    """Make the cluster beside its place, with its password and database, and rename it.

    The password goes to a single-user server through a pipe: it is never in a file or on a command line, and the
    server that listens has it from its first moment.
    """
    new = cluster.parent / f".pgdata.new-{secrets.token_hex(4)}"
    new.mkdir(mode=0o700)
    try:
        if programs.account:
            os.chown(new, programs.account.uid, programs.account.gid)
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
        new.rename(cluster)
    finally:
        shutil.rmtree(new, ignore_errors=True)


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
    import psutil

    lock = cluster / "postmaster.pid"
    try:
        pid = int(lock.read_text().splitlines()[0])
        if pid > 1 and "postgres" not in psutil.Process(pid).name():
            lock.unlink()
    except (OSError, ValueError, IndexError, psutil.Error):
        return
