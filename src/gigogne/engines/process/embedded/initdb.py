"""`/docker-entrypoint-initdb.d` of PostgreSQL: scripts that run once, when the data directory is made.

They run as the official image runs them, against a server that nobody else reaches. Where bubblewrap works, the
scripts and that server see the service's mounts at their paths in the container.
"""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from gigogne.core.model import MountType, Problem, Service
from gigogne.engines.process.embedded import users
from gigogne.engines.process.embedded.programs import Programs
from gigogne.engines.process.embedded.server import problem
from gigogne.engines.process.processes import exit_code
from gigogne.errors import EngineError

__all__ = ["Script", "init_scripts", "private_directory", "run_scripts", "script_problems"]

_SCRIPTS = PurePosixPath("/docker-entrypoint-initdb.d")
_START_TIMEOUT = 60.0
_STATUS = 7  # the line of postmaster.pid that says how far the server is
# What the official entry point offers to the scripts that it reads into itself.
_OFFERED = """\
set -Eeo pipefail
docker_process_sql() {
    psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" "$@"
}
psql=(docker_process_sql)
. "$0"
"""
_MASKED_FROM = 4  # a shorter value hides nothing, and would be found in any word


@dataclass(frozen=True, slots=True)
class Script:
    """A script: where it is on this machine, and in the container."""

    path: Path
    inside: PurePosixPath

    @property
    def kind(self) -> str:
        """Its suffix: `.sh`, `.sql`, `.sql.gz`, `.sql.xz` or `.sql.zst`; empty for a file that is no script."""
        known = (".sh", ".sql", ".sql.gz", ".sql.xz", ".sql.zst")
        return next((suffix for suffix in known if self.inside.name.endswith(suffix)), "")

    @property
    def runs_by_itself(self) -> bool:
        """Whether it is a program of its own; else a shell reads it."""
        return self.kind == ".sh" and sys.platform != "win32" and bool(self.path.stat().st_mode & 0o111)


@dataclass(frozen=True, slots=True)
class _Session:
    """The server that scripts talk to, and how they are run beside it."""

    programs: Programs
    service: Service
    environment: Mapping[str, str] = field(repr=False)

    def run(self, script: Script) -> None:
        """Run one script to its end.

        Raises:
            EngineError: It fails.
        """
        with tempfile.TemporaryFile() as said:
            if script.kind == ".sh":
                argv = _shell(script)
            else:
                psql = str(self.programs.program("psql"))
                argv = (psql, "-v", "ON_ERROR_STOP=1", "--no-password", "--no-psqlrc", "-f", "-")
            stdin = None if script.kind == ".sh" else subprocess.PIPE
            try:
                process = self.programs.start(argv, self.environment, script.path.parent, output=said, stdin=stdin)
            except OSError as error:  # the program that its first line names is not there
                raise EngineError(*self._failure(script, 127, str(error.strerror))) from None
            try:
                _feed(process, script)
                code = process.wait()
            except BaseException:  # a Ctrl-C too
                process.kill()
                process.wait()
                raise
            if code:
                said.seek(0)
                raise EngineError(*self._failure(script, code, said.read().decode(errors="replace")))

    def _failure(self, script: Script, code: int, said: str) -> tuple[str, str]:
        lines = [line for line in said.splitlines() if line.strip()]
        errors = [number for number, line in enumerate(lines) if "ERROR:" in line or "FATAL:" in line]
        shown = lines[errors[0] : errors[0] + 3] if errors else lines[-4:]
        text = "\n".join(shown).replace("psql:<stdin>", str(script.path))
        names = (self.environment["POSTGRES_USER"], self.environment["POSTGRES_DB"])
        for value in sorted(self.service.environment.values(), key=len, reverse=True):
            if len(value) >= _MASKED_FROM and value not in names:
                text = text.replace(value, "***")
        return (
            f"service {self.service.name!r}: {script.path} failed (exit code {exit_code(code)})"
            + f":\n{text}" * bool(text),
            "correct the script, then run again: nothing of the new database was kept",
        )


def init_scripts(service: Service) -> list[Script]:
    """The files in the scripts' directory, in the order in which they run."""
    found: dict[str, Script] = {}
    for mount in sorted(service.mounts, key=lambda each: len(PurePosixPath(each.target).parts)):
        target, source = PurePosixPath(mount.target), Path(mount.source)
        if mount.type is not MountType.BIND:
            continue
        if target.parent == _SCRIPTS:
            found[target.name] = Script(source, target)
        elif target == _SCRIPTS and source.is_dir() and os.access(source, os.R_OK):
            found |= {path.name: Script(path, _SCRIPTS / path.name) for path in source.iterdir() if path.is_file()}
    scripts = [script for name, script in sorted(found.items()) if not name.startswith(".")]
    return [script for script in scripts if script.kind]


def private_directory(new: Path) -> Path:
    """Where the sockets are of the server that works on a new data directory.

    The path of a socket is limited to about a hundred bytes, and a TMPDIR may be longer.
    """
    return Path("/tmp" if os.name == "posix" else tempfile.gettempdir(), f"gigogne{new.name}")  # noqa: S108 - made by us


def script_problems(service: Service) -> Iterator[Problem]:
    """The scripts that cannot be run here."""
    for mount in service.mounts:
        if mount.type is not MountType.BIND and PurePosixPath(mount.target).is_relative_to(_SCRIPTS):
            yield problem(
                service,
                "volumes",
                f"the scripts in {mount.target} come from a volume, which is not supported without Docker",
                "mount a directory of this machine there",
            )
        elif PurePosixPath(mount.target) == _SCRIPTS and not os.access(mount.source, os.R_OK):
            yield problem(service, "volumes", f"{mount.source} cannot be read", f"chmod +r {mount.source}")
    for script in init_scripts(service):
        if script.kind == ".sql.zst":
            yield problem(service, "volumes", f"{script.path} is packed with zstd, which needs Docker",
                          "unpack it (zstd -d), or pack it with gzip or xz")  # fmt: skip
        elif script.kind == ".sh" and _bash() is None:
            yield problem(service, "volumes", f"{script.path} needs bash, which is not on this machine",
                          "install bash, or write the script in SQL")  # fmt: skip
        elif not os.access(script.path, os.R_OK):
            yield problem(service, "volumes", f"{script.path} cannot be read", f"chmod +r {script.path}")


def run_scripts(
    service: Service,
    environment: Mapping[str, str],
    new: Path,
    programs: Programs,
    settings: Sequence[str],
    progress: Callable[[str], None],
) -> None:
    """Run the service's scripts against the data directory `new`.

    Args:
        service: The service.
        environment: What the scripts get besides the variables of the service: POSTGRES_USER and its like.
        new: The data directory, with its user and its database made.
        programs: How the programs of PostgreSQL are run here.
        settings: The settings of the service's command, as `-c name=value`.
        progress: Is told the name of each script.

    Raises:
        EngineError: A script fails, or the server does not start.
    """
    scripts = init_scripts(service)
    if not scripts:
        return
    programs = replace(programs, prefix=tuple(_prefix(service, programs)))
    if programs.account:
        shells = (script for script in scripts if script.kind == ".sh")
        places = (script.path if script.runs_by_itself else script.path.parent for script in shells)
        users.refuse_unreachable(places, programs.account)
    with _private_directory(new) as private:
        programs.give(private)
        reached = _reached(private)
        variables = {
            **service.environment,
            **environment,
            **reached,
            "HOME": str(private),
            "PATH": os.pathsep.join((str(programs.directory), "/usr/local/bin", os.defpath)),
            "PGUSER": environment["POSTGRES_USER"],
            "PGDATABASE": environment["POSTGRES_DB"],
            "PGDATA": str(new),
        }
        with _server(programs, new, private, reached, settings, trust=not environment["PGPASSWORD"]):
            session = _Session(programs, service, {**programs.environment, **variables})
            for script in scripts:
                progress(f"running {script.path}")
                session.run(script)


def _prefix(service: Service, programs: Programs) -> list[str]:
    """What shows the scripts the paths of the container, where bubblewrap works."""
    if programs.bwrap is None:
        return []
    binds = [(Path(each.source), each.target) for each in service.mounts if each.type is MountType.BIND]
    return users.with_mounts(programs.bwrap, binds)


@contextmanager
def _private_directory(new: Path) -> Iterator[Path]:
    """The directory of the sockets, which nobody else enters; its name is as random as that of `new`."""
    private = private_directory(new)
    private.mkdir(mode=0o700)
    try:
        yield private
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _reached(private: Path) -> dict[str, str]:
    """How libpq reaches the server: by a socket in a private directory; on Windows by a port, and with the password."""
    if os.name == "posix":
        return {"PGHOST": str(private), "PGPORT": "5432"}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return {"PGHOST": "127.0.0.1", "PGPORT": str(probe.getsockname()[1])}


@contextmanager
def _server(
    programs: Programs, new: Path, private: Path, reached: Mapping[str, str], settings: Sequence[str], *, trust: bool
) -> Iterator[None]:
    """A server on the new data directory, until the block ends; `trust` where there is no password."""
    rules = private / "pg_hba.conf"
    method = "trust" if trust else "scram-sha-256"
    rules.write_text(f"local all all trust\nhost all all 127.0.0.1/32 {method}\n", encoding="ascii")
    rules.chmod(0o644)  # the directory is private
    where = {"port": reached["PGPORT"], "hba_file": str(rules), "log_min_error_statement": "panic"}
    if os.name == "posix":
        where |= {"listen_addresses": "", "unix_socket_directories": str(private)}
    else:
        where |= {"listen_addresses": reached["PGHOST"]}
    values = [part for name, value in where.items() for part in ("-c", f"{name}={value}")]
    with (private / "log").open("w+b") as log:
        argv = (str(programs.program("postgres")), "-D", str(new), *settings, *values)
        process = programs.start(argv, programs.environment, new, output=log, apart=True)
        try:
            _wait_until_ready(process, new / "postmaster.pid", private / "log")
            yield
            programs.run("pg_ctl", "stop", "-D", str(new), "-m", "fast", "-w")
            process.wait(_START_TIMEOUT)
        finally:
            if process.poll() is None:  # a script failed, and the data directory goes away
                with suppress(EngineError):
                    programs.run("pg_ctl", "stop", "-D", str(new), "-m", "immediate", "-w")
                process.kill()
                process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], lock: Path, log: Path) -> None:
    """Wait until the server says so in its lock file, as pg_ctl does."""
    deadline = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError, IndexError):
            if lock.read_text(encoding="utf-8", errors="replace").splitlines()[_STATUS].strip() == "ready":
                return
        time.sleep(0.02)
    last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-4:])
    raise EngineError(
        f"PostgreSQL does not start for the scripts of its initialisation:\n{last}",
        "see its words above; the settings of the service's command apply here too",
    )


def _bash() -> str | None:
    return shutil.which("bash")


def _shell(script: Script) -> tuple[str, ...]:
    """The command line of a shell script: by itself when it is executable, else read by a shell."""
    path = str(script.path)
    if script.runs_by_itself:
        with script.path.open("rb") as file:
            return (path,) if file.read(2) == b"#!" else (_bash() or "bash", path)
    return (_bash() or "bash", "-c", _OFFERED, path)


def _feed(process: subprocess.Popen[bytes], script: Script) -> None:
    """Give psql all of a script of SQL, unpacked."""
    if process.stdin is None:
        return
    try:
        with process.stdin as sink, _opened(script) as source:
            shutil.copyfileobj(source, sink)
    except BrokenPipeError:
        pass  # it stopped at an error, which it says
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise EngineError(f"{script.path} cannot be read: {error}", "make it readable, or pack it again") from error


def _opened(script: Script) -> BinaryIO | gzip.GzipFile | lzma.LZMAFile:
    if script.kind == ".sql.gz":
        return gzip.GzipFile(script.path)
    return lzma.LZMAFile(script.path) if script.kind == ".sql.xz" else script.path.open("rb")
