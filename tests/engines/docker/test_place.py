"""Where Gigogne is, seen from the daemon: from recorded words of it, and in real containers one and two deep."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from inspect import getfile
from pathlib import Path
from typing import Any

import psutil
import pytest
from docker.client import DockerClient
from tests.conftest import REPOSITORY

from gigogne.compose.model import project_of
from gigogne.core.nesting import nest
from gigogne.core.place import MountPoint, PathKind, Place, PlaceKind
from gigogne.engines.docker.place import Traces, find_place, mount_points
from gigogne.errors import EngineError

INSPECTED = Path(__file__).parent / "inspected"
SOCKET = Path("/var/run/docker.sock")
OWN, OTHER = "a" * 64, "b" * 64
ANONYMOUS = "762c108dca069831f422531b213f947ef4eeaebd2dd3cca19007ec262807f077"


def recorded(name: str) -> dict[str, Any]:
    """What was recorded of a container."""
    found: dict[str, Any] = json.loads((INSPECTED / f"{name}.json").read_text(encoding="utf-8"))
    return found


def traces(name: str, **changes: Any) -> Traces:
    """What a recorded container found in its own files."""
    said = recorded(name)
    return replace(Traces("\n".join(said["mountinfo"]), "\n".join(said["cgroup"]), said["hostname"], True), **changes)


def inspect(name: str) -> Mapping[str, Any] | None:
    """The recorded inspection of a container that was called so."""
    file = INSPECTED / f"{name.removeprefix('h2-')}.json"
    return recorded(file.stem)["inspect"] if file.exists() else None


# What the tests need not look at, in a line of a control group or of a mount.
FILES = "236 181 0:81 / / rw - overlay overlay rw,upperdir=/var/lib/docker/overlay2/x/diff\n{} - ext4 /dev/vda rw"


@pytest.mark.parametrize(
    ("found", "ids"),
    [
        # cgroup v1, as Docker and as systemd name it
        (Traces(cgroup=f"9:name=systemd:/docker/{OWN}\n8:pids:/docker/{OWN}\n0::/docker/{OWN}"), (OWN,)),
        (Traces(cgroup=f"4:memory:/system.slice/docker-{OWN}.scope"), (OWN,)),
        # a container in a container: the innermost is this one
        (Traces(cgroup=f"4:memory:/docker/{OTHER}/docker/{OWN}"), (OWN,)),
        # cgroup v2, the host's name space and one of its own
        (Traces(cgroup=f"0::/system.slice/docker-{OWN}.scope"), (OWN,)),
        (Traces(cgroup="0::/"), ()),
        # the files that Docker mounts, whatever the host name; those of Podman; a directory of Docker's elsewhere
        (
            Traces(
                FILES.format(f"1 2 254:0 /var/lib/docker/containers/{OWN}/hostname /etc/hostname rw"), "0::/", "web"
            ),
            (OWN,),
        ),
        (Traces(FILES.format(f"1 2 8:1 /docker/containers/{OWN}/hosts /etc/hosts rw,relatime master:1")), (OWN,)),
        (
            Traces(FILES.format(f"1 2 0:5 /containers/storage/overlay-containers/{OWN}/userdata/hosts /etc/hosts rw")),
            (OWN,),
        ),
        # an inner daemon's containers are not this one, nor is one whose logs are read here
        (Traces(FILES.format(f"1 2 254:0 /var/lib/docker/containers/{OTHER}/logs /logs rw")), ()),
        (Traces(FILES.format(f"1 2 0:9 / /var/lib/docker/containers/{OTHER}/mounts/shm rw")), ()),
        # the host name, where it is an id
        (Traces(hostname="0123456789ab"), ("0123456789ab",)),
        (Traces(hostname="workstation"), ()),
        (Traces(hostname="0123456789AB"), ()),
        # all of them, the surest first
        (
            Traces(
                FILES.format(f"1 2 8:1 /containers/{OTHER}/hosts /etc/hosts rw"), f"1:cpu:/docker/{OWN}", OTHER[:12]
            ),
            (OWN, OTHER, OTHER[:12]),
        ),
        (Traces("not a table\n\n", "neither"), ()),
    ],
)
def test_a_container_finds_its_own_id(found: Traces, ids: tuple[str, ...]) -> None:
    """In its control group, in the files that Docker mounts, in its host name."""
    assert found.ids == ids


@pytest.mark.parametrize(
    ("found", "may_be"),
    [
        (Traces(), False),
        (
            Traces("25 1 8:1 / / rw - ext4 /dev/sda1 rw", "0::/user.slice/user-1000.slice/session-2.scope", "laptop"),
            False,
        ),
        (Traces("25 1 8:1 / / rw - ext4 /dev/sda1 rw", "0::/", "0123456789ab"), False),
        (Traces(marked=True), True),
        (Traces("1 2 0:81 / / rw - overlay overlay rw", "0::/"), True),
        (Traces("1 2 8:1 /pods/1/etc-hosts /etc/hosts rw - ext4 /dev/sda1 rw", "0::/"), True),
        (Traces(cgroup="0::/kubepods.slice/kubepods-pod1.slice"), True),
        (Traces(cgroup=f"0::/system.slice/docker-{OWN}.scope"), True),
    ],
)
def test_what_may_be_a_container(found: Traces, may_be: bool) -> None:
    """A laptop is none, so that nothing is probed there; a container without an id is one."""
    assert found.is_container is may_be


@pytest.mark.parametrize("name", ["mounts", "volumes-from", "host-network", "shared-network"])
def test_a_container_knows_its_inspection(name: str) -> None:
    """By its layer, and where the engine does not tell of layers, by where its mounts are; never another one's."""
    own = traces(name)
    assert own.ids[0] == recorded(name)["inspect"]["Id"] and own.is_container
    for other in ("mounts", "volumes-from", "host-network", "shared-network"):
        assert own.fit(recorded(other)["inspect"]) is (other == name)
    without = {**recorded(name)["inspect"], "GraphDriver": None}
    assert own.fit(without)
    assert not own.fit({**without, "Mounts": [{"Destination": "/elsewhere"}]})


def test_who_shares_a_network_has_the_files_of_another() -> None:
    """Only its control group has the id; without one the files name the other container, which does not fit."""
    hidden = traces("shared-network", cgroup="0::/")
    assert hidden.ids[0] == recorded("mounts")["inspect"]["Id"]
    assert not hidden.fit(recorded("mounts")["inspect"])
    assert hidden.fit(recorded("shared-network")["inspect"])


MOUNTS = (
    MountPoint("/etc/conf.yml", "bind", "/tmp/h2/work/conf.yml", read_only=True),
    MountPoint("/home/hosted/data", "volume", "h2-data"),
    MountPoint("/var/run/docker.sock", "bind", "/var/run/docker.sock"),
    MountPoint("/home/hosted", "bind", "/tmp/h2/work"),
    MountPoint("/raw", "volume", "h2-data", "raw", read_only=True),
    MountPoint("/anonymous", "volume", ANONYMOUS),
)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("mounts", (*MOUNTS, MountPoint("/scratch", "tmpfs", ""))),
        ("volumes-from", tuple(replace(mount, read_only=True) for mount in MOUNTS)),
        ("host-network", (MountPoint("/home/hosted", "bind", "/tmp/h2/work"), MountPoint("/cache", "tmpfs", ""))),
    ],
)
def test_the_table_of_mounts(name: str, table: tuple[MountPoint, ...]) -> None:
    """Binds, volumes with the part of them that is mounted, memory; those of other containers as well."""
    assert mount_points(recorded(name)["inspect"], inspect) == table


def test_volumes_of_a_container_that_is_gone() -> None:
    """The daemon does not tell which part of them is mounted: that is an error, and no guess."""
    with pytest.raises(EngineError, match="the container h2-mounts:ro, whose volumes this one uses, is gone") as raised:
        mount_points(recorded("volumes-from")["inspect"], lambda name: None)
    assert "--mount" in raised.value.hint


class Everything:
    """A disk on which every path is a directory, without links."""

    def resolve(self, path: str) -> str:
        """The path."""
        return path

    def kind(self, path: str) -> PathKind:
        """A directory."""
        return PathKind.DIRECTORY


WSL = "/run/desktop/mnt/host/wsl/docker-desktop-bind-mounts/Ubuntu"


@pytest.mark.parametrize(
    ("name", "source", "becomes"),
    [
        ("desktop-windows", "/home/hosted/app", "C:\\work\\hosted\\app"),
        ("desktop-windows", "/var/run/docker.sock", "/var/run/docker.sock"),
        ("desktop-windows", "/models", "models"),
        ("desktop-windows-api", "/home/hosted/app", "/run/desktop/mnt/host/c/work/hosted/app"),
        (
            "desktop-wsl",
            "/home/hosted/app",
            f"{WSL}/4d9e39410bba78dcea561b6c16d98f01cede5129d3b2cc9480124eca0f17adf5/app",
        ),
        ("desktop-wsl", "/var/run/docker.sock", f"{WSL}/docker.sock"),
        ("desktop-macos", "/home/hosted/app", "/host_mnt/Users/me/hosted/app"),
        ("desktop-macos", "/var/run/docker.sock", "/run/host-services/docker.proxy.sock"),
    ],
)
def test_the_spelling_of_docker_desktop(name: str, source: str, becomes: str) -> None:
    """A source is handed back as the daemon itself spells it."""
    said = recorded(name)
    place = Place(PlaceKind.OUTSIDE, mount_points(said["inspect"], inspect), OWN, said["engine"])
    volumes = [{"type": "bind", "source": source, "target": "/app", "bind": {}}]
    project = project_of(
        {"name": "p", "services": {"job": {"image": "a", "volumes": volumes}}}, directory=Path("/"), files=()
    )
    nesting = nest(project, place, disk=Everything())
    assert nesting.problems == ()
    assert [mount["source"] for mount in nesting.model["services"]["job"]["volumes"]] == [becomes]


# ---- real containers ----

IMAGE = "python:3.12-slim"

ASKING = """
import dataclasses, json, sys, tempfile
from contextlib import closing
from pathlib import Path
from gigogne.engines.docker.connection import connect
from gigogne.engines.docker.place import Traces, find_place

with closing(connect()) as client:
    own = Traces.read()
    asked = {
        "as it is": (None, own),
        "without cgroups": (None, dataclasses.replace(own, cgroup="0::/")),
        "unknown": (None, Traces(marked=True)),
        "unknown, shared folder": (Path(sys.argv[1]), Traces(marked=True)),
    }
    said = {name: find_place(client, d, traces=t) for name, (d, t) in asked.items()}
    tempfile.tempdir = sys.argv[1]
    for name, directory in (("own folder", "/srv"), ("folder of the kernel", "/proc")):
        said[f"{name}, shared temporary files"] = find_place(client, Path(directory), traces=Traces(marked=True))
    print(json.dumps({name: dataclasses.asdict(place) for name, place in said.items()}))
"""

NESTING = """
import json, os, sys
from contextlib import closing
from pathlib import Path
from docker.types import Mount
from gigogne.compose.model import project_of
from gigogne.core.nesting import nest
from gigogne.engines.docker.connection import connect
from gigogne.engines.docker.place import find_place

image, code, source, *paths = sys.argv[1:]
volumes = [{"type": "bind", "source": path, "target": path, "read_only": True} for path in paths]
services = {"job": {"image": image, "volumes": [*volumes, {"type": "bind", "source": source, "target": "/app"}]}}
with closing(connect()) as client:
    nesting = nest(project_of({"name": "p", "services": services}, directory=Path("/"), files=()), find_place(client))
    made = nesting.model["services"]["job"]["volumes"]
    mounts = [Mount(each["target"], each["source"], type="bind") for each in made]
    naive = client.containers.run(image, ["ls", "/app"], remove=True, volumes=[source + ":/app"])
    command, path = ["python", "-c", code], {"PYTHONPATH": os.environ["PYTHONPATH"]}
    inner = client.containers.run(image, command, remove=True, mounts=mounts, environment=path)
    print(json.dumps({"problems": len(nesting.problems), "naive": naive.decode(), "inner": json.loads(inner)}))
"""

INNER = """
import dataclasses, json, os
from contextlib import closing
from gigogne.engines.docker.connection import connect
from gigogne.engines.docker.place import find_place

with closing(connect()) as client:
    print(json.dumps({"files": os.listdir("/app"), **dataclasses.asdict(find_place(client))}))
"""

# This package and the SDK, pure Python both, wherever they are installed.
LIBRARIES = (str(REPOSITORY / "src"), str(Path(getfile(DockerClient)).parents[1]))

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run() -> Iterator[Run]:
    """Runs Python in a container that has the daemon's socket and these libraries; what it leaves is removed."""
    made: list[str] = []

    def run(code: str, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        made.append(f"gigogne-test-place-{uuid.uuid4().hex[:8]}")
        words = ["docker", "run", "--name", made[-1], "-v", f"{SOCKET}:{SOCKET}"]
        words += [word for path in LIBRARIES for word in ("-v", f"{path}:{path}:ro")]
        words += ["-e", f"PYTHONPATH={':'.join(LIBRARIES)}", *options, IMAGE, "python", "-c", code, *arguments]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)

    yield run
    subprocess.run(["docker", "rm", "-fv", *made], capture_output=True, check=False)


@pytest.fixture
def shared(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder that containers may mount, with a module in it."""
    with tempfile.TemporaryDirectory(prefix="gigogne-test-place-") as made:
        folder = Path(made).resolve()
        (folder / "app").mkdir()
        (folder / "app" / "main.py").write_text("print('here')\n", encoding="utf-8")
        yield folder


@pytest.mark.docker
@pytest.mark.skipif(sys.platform != "linux", reason="paths of this machine and of the daemon are the same on Linux")
def test_a_container_finds_its_place(run: Run, shared: Path, docker_engine: DockerClient) -> None:
    """By its id, whatever it is called and whose network it has; else a probe tells whose disk the daemon sees."""
    neighbour = docker_engine.containers.run(IMAGE, ["sleep", "60"], detach=True)
    try:
        options = ("--network", f"container:{neighbour.id}", "-v", f"{shared}:/home/hosted", "-v", f"{shared}:{shared}")
        asked = run(ASKING, str(shared), options=options)
    finally:
        neighbour.remove(force=True)
    assert asked.returncode == 0, asked.stderr
    said = json.loads(asked.stdout)
    for way in ("as it is", "without cgroups"):
        assert said[way]["kind"] == "outside" and said[way]["container"] != neighbour.id
        table = {mount["target"]: (mount["source"], mount["read_only"]) for mount in said[way]["mounts"]}
        assert table["/home/hosted"] == (str(shared), False) and table[LIBRARIES[0]] == (LIBRARIES[0], True)
    assert said["unknown"]["kind"] == "remote" and said["unknown, shared folder"]["kind"] == "inside"
    assert said["own folder, shared temporary files"]["kind"] == "remote", "the project's directory decides"
    assert said["folder of the kernel, shared temporary files"]["kind"] == "inside", "where it can be written"
    assert list(shared.iterdir()) == [shared / "app"]  # the probe's file is gone


@pytest.mark.docker
@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="another user's daemon is not looked at")
def test_a_daemon_with_the_same_mounts(docker_engine: DockerClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the daemon itself is seen to have the mounts of this process, no probe is needed: none can be made here."""
    daemons = [each.pid for each in psutil.process_iter(["name"]) if each.info["name"] == "dockerd"]
    if Path("/proc/self/ns/mnt").readlink() not in [Path(f"/proc/{pid}/ns/mnt").readlink() for pid in daemons]:
        pytest.skip("the daemon has other mounts")
    nowhere = Path("/proc/self/no-such-folder")
    monkeypatch.setattr(tempfile, "tempdir", str(nowhere))
    assert find_place(docker_engine, nowhere, traces=Traces(marked=True)).kind is PlaceKind.INSIDE


@pytest.mark.docker
@pytest.mark.skipif(sys.platform != "linux", reason="paths of this machine and of the daemon are the same on Linux")
def test_a_folder_arrives_two_deep(run: Run, shared: Path) -> None:
    """The naive mount is empty and succeeds, the translated one has the files, and the inner container finds itself."""
    here = f"{shared}-in-the-container"
    try:
        options = ("--hostname", "workstation", "-v", f"{shared}:{here}")
        asked = run(NESTING, IMAGE, INNER, f"{here}/app", str(SOCKET), *LIBRARIES, options=options)
        assert asked.returncode == 0, asked.stderr
        said = json.loads(asked.stdout)
        assert said["naive"] == "" and list(Path(here, "app").iterdir()) == []  # and a stray directory, on the host
    finally:
        shutil.rmtree(here, ignore_errors=True)
    assert said["inner"]["files"] == ["main.py"] and not said["problems"]
    assert said["inner"]["kind"] == "outside"
    table = {mount["target"]: mount["source"] for mount in said["inner"]["mounts"]}
    assert table == {"/app": str(shared / "app"), **{path: path for path in (str(SOCKET), *LIBRARIES)}}
