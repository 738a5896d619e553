"""The host container: what its image is built from, what it is made of, how it reaches a daemon, and its signals."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import REPOSITORY

from gigogne.core.model import Build, Mount, MountType, Project, Service
from gigogne.engines.docker.host.access import Access
from gigogne.engines.docker.host.container import (
    Bind,
    HostContainer,
    project_root,
    sources_elsewhere,
    where_hosted,
)
from gigogne.engines.docker.host.source import HostSource
from gigogne.errors import EngineError


def test_a_wheel_and_a_repository_give_the_same_image(tmp_path: Path) -> None:
    """What is installed from a wheel has all that the image is built from, to the byte: so nothing is built twice."""
    uv = shutil.which("uv", path=Path(sys.executable).parent)
    assert uv is not None
    subprocess.run([uv, "build", "-q", "--wheel", "--out-dir", tmp_path, REPOSITORY], check=True, timeout=120)
    wheel = next(tmp_path.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site-packages")
    installed, here = HostSource(tmp_path / "site-packages/gigogne"), HostSource()
    assert installed.files.keys() == here.files.keys()
    assert installed.digest == here.digest


def test_the_digest_is_that_of_the_files(tmp_path: Path) -> None:
    """It changes with what the image is made of, and not with what Python and linters leave beside it."""
    HostSource().write_to(tmp_path)
    package = tmp_path / "src/gigogne"
    before = HostSource(package)
    assert before.digest == HostSource().digest
    (package / "__pycache__").mkdir()
    (package / "__pycache__/a.pyc").write_bytes(b"x")
    (package / ".cache").mkdir()
    (package / ".cache/b").write_bytes(b"x")
    assert HostSource(package).digest == before.digest
    (tmp_path / "docker/host/with-engine").write_text("#!/bin/sh\n")
    assert HostSource(package).digest != before.digest


def test_files_that_are_missing(tmp_path: Path) -> None:
    """A package without the files of the host image says so."""
    shutil.copytree(REPOSITORY / "src/gigogne", tmp_path / "gigogne", ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.raises(EngineError, match="the host image is built from it"):
        HostSource(tmp_path / "gigogne")


CONTAINER = HostContainer(
    project="shop",
    image="host",
    working_dir="/home/hosted/a$b",
    binds=(Bind("/work/a$b", "/home/hosted"), Bind("/certs", "/certs", read_only=True)),
    passed=("TOKEN",),
    settings={"COMPOSE_FILE": "/home/hosted/$x.yml"},
    user="1000:1000",
    groups=("998",),
)


def test_the_container_as_compose_reads_it() -> None:
    """Compose takes the model as it is: names of variables without values, dollars meant as dollars."""
    done = subprocess.run(
        [Path(sys.executable).parent / "docker-compose", "-f", "-", "config", "--format", "json"],
        input=json.dumps(CONTAINER.as_model()),
        env={"TOKEN": "${HOME}", "PATH": "/usr/bin", "HOME": "/root"},
        capture_output=True,
        text=True,
        check=True,
    )
    host = json.loads(done.stdout.replace("$$", "$"))["services"]["host"]
    assert CONTAINER.as_model()["services"]["host"]["environment"]["TOKEN"] is None
    assert host["environment"]["TOKEN"] == "${HOME}"
    assert host["environment"]["COMPOSE_FILE"] == "/home/hosted/$x.yml"
    assert host["environment"]["GIGOGNE_NEST_PASSED"] == "TOKEN"
    assert (host["working_dir"], host["user"], host["group_add"]) == ("/home/hosted/a$b", "1000:1000", ["998"])
    assert [(v["source"], v.get("read_only", False)) for v in host["volumes"]] == [
        ("/work/a$b", False),
        ("/certs", True),
    ]
    assert not any(v["bind"].get("create_host_path", False) for v in host["volumes"])


def test_an_engine_of_its_own() -> None:
    """With its engine inside it is privileged, keeps images on a volume, and shares no network and no group."""
    made = replace(CONTAINER, daemon="inside").as_model()
    host = made["services"]["host"]
    assert host["privileged"] is True
    assert host["network_mode"] == "bridge"
    assert host["environment"]["NEST_USER"] == "1000:1000"
    assert not {"user", "group_add"} & host.keys(), "the engine is root's, the command is not"
    assert made["volumes"] == {"docker": {"name": "shop_nest-docker"}}


def project(folder: Path, contexts: Sequence[Path] = (), binds: Sequence[tuple[str, bool]] = ()) -> Project:
    """A project in a folder, with build contexts and with bind sources that are read-only or not."""
    mounts = tuple(Mount(MountType.BIND, source, f"/m{n}", read_only=ro) for n, (source, ro) in enumerate(binds))
    services = {f"s{n}": Service(f"s{n}", build=Build(context, None)) for n, context in enumerate(contexts)}
    services["mounts"] = Service("mounts", mounts=mounts)
    return Project("p", folder, (folder / "compose.yaml",), services)


def test_the_directory_that_is_mounted(tmp_path: Path) -> None:
    """The project's, or the one above it in which its build contexts lie; paths in it have a name in the container."""
    folder = tmp_path / "repository/deploy"
    assert project_root(project(folder)) == folder
    root = project_root(project(folder, [tmp_path / "repository", folder / "x"]))
    assert root == tmp_path / "repository"
    assert where_hosted(folder, root) == "/home/hosted/deploy"
    assert where_hosted(root, root) == "/home/hosted"
    assert where_hosted(tmp_path, root) is None
    assert project_root(project(folder, [Path("/opt")])) == folder, "never the whole disk"


def test_sources_that_lie_elsewhere(tmp_path: Path) -> None:
    """They are at the same path and beside the project, read-only where each service says so, and hide nothing."""
    root, models = tmp_path / "root", tmp_path / "models"
    for each in (root / "data", models, tmp_path / "bin"):
        each.mkdir(parents=True)
    binds = [(f"{root}/data", False), (f"{models}", True), (f"{tmp_path}/gone", False), ("/etc/hostname", True)]
    binds += [("/", True), ("/usr", True), ("/etc", True), ("/var/run/docker.sock", False), (str(Path.home()), False)]
    found = sources_elsewhere(project(root, binds=binds), root)
    assert {bind.target: (bind.source, bind.read_only) for bind in found} == {
        "/etc/hostname": ("/etc/hostname", True),
        f"{models}": (f"{models}", True),
        "/home/models": (f"{models}", True),
    }
    found = sources_elsewhere(project(root, binds=[*binds, (f"{models}", False)]), root)
    assert [bind.read_only for bind in found if bind.source == str(models)] == [False, False]
    found = sources_elsewhere(project(root / "a", binds=[(f"{tmp_path}/bin", True)]), root / "a")
    assert [bind.target for bind in found] == [f"{tmp_path}/bin"], "../../bin would be the container's own /bin"


def test_what_compose_reads_elsewhere(tmp_path: Path) -> None:
    """Env files, secrets, configs and Dockerfiles beside the project are read-only, and not mounted in a mount."""
    root, data = tmp_path / "root", tmp_path / "data"
    for each in (root, data):
        each.mkdir()
    for name in ("a$b.txt", "c.yml", "Dockerfile", ".env.shared", "data/b.env"):
        (tmp_path / name).write_text("")
    raw = {"secrets": {"s": {"file": f"{tmp_path}/a$$b.txt"}}, "configs": {"c": {"file": f"{tmp_path}/c.yml"}, "d": {}}}
    built = Service("built", build=Build(root, tmp_path / "Dockerfile"))
    asked = project(root, binds=[(str(data), False)])
    asked = replace(asked, raw=raw, services={**asked.services, "built": built})
    found = sources_elsewhere(asked, root, [tmp_path / ".env.shared", data / "b.env", root / "compose.yaml"])
    read = {"a$b.txt", "c.yml", "Dockerfile", ".env.shared"}
    assert {bind.target: bind.read_only for bind in found} == {
        f"{place}/{name}": name in read for place in ("/home", tmp_path) for name in (*read, "data")
    }
    assert all(Path(bind.source) == tmp_path / Path(bind.target).name for bind in found)


def test_access_over_tcp(tmp_path: Path) -> None:
    """A daemon that DOCKER_HOST names is used in the container too, with its certificates, which are only read."""
    named = {"DOCKER_HOST": "tcp://far:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    access = Access.to("tcp://far:2376", named)
    assert access.settings == {"DOCKER_HOST": "tcp://far:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/certs"}
    assert access.binds == (Bind(str(tmp_path), "/certs", read_only=True),)
    assert access.groups == ()
    assert Access.to("tcp://near:2375", {"DOCKER_HOST": "tcp://near:2375"}).binds == ()


@pytest.mark.parametrize("endpoint", ["ssh://me@far", "tcp://of-a-context:2376"])
def test_no_access(endpoint: str) -> None:
    """What cannot be had in a container is refused, with what to do."""
    with pytest.raises(EngineError, match="cannot be reached from a container") as refused:
        Access.to(endpoint, {})
    assert "DOCKER_CERT_PATH" in refused.value.hint


ATTENDED = (
    "import signal, sys, time\nsignal.signal(2, lambda *_: sys.exit(7))\nprint('ready', flush=True)\n"
    # In short naps: a signal that comes just before Python goes to sleep is heard after it.
    "while True: time.sleep(0.05)"
)
ATTENDING = """
import os, sys
from gigogne.engines.docker.host.run import attend
sys.exit(attend([sys.executable, "-c", sys.argv[1]], os.environ, lambda number: number == 15, terminal=False))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_signals_of_who_attends() -> None:
    """A signal is delivered, and sent to the program where it is not taken; the exit code is the program's."""
    with subprocess.Popen([sys.executable, "-c", ATTENDING, ATTENDED], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 7


def test_a_program_that_is_killed() -> None:
    """Its exit code is 128 and the signal, as a shell has it."""
    killed = "import os; os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", ATTENDING, killed], check=False).returncode == 137
