"""A project as the daemon must read it: what each mount becomes, at each kind of place."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gigogne.compose import LoadOptions, load_project
from gigogne.compose.binary import run_compose
from gigogne.compose.model import project_of
from gigogne.core.model import Project
from gigogne.core.nesting import Nesting, nest
from gigogne.core.place import LocalDisk, MountPoint, PathKind, Place, PlaceKind, chain

HOSTED = MountPoint("/home/hosted", "bind", "/srv/shop")
WINDOWS = MountPoint("/home/hosted", "bind", "C:\\work\\hosted")
DATA = MountPoint("/data", "volume", "lake")


@dataclass(frozen=True)
class Tree:
    """The paths of a container that is described, not there: each test says which they are."""

    directories: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    sockets: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)

    def resolve(self, path: str) -> str:
        """The path with the first link in it followed."""
        for link, target in self.links.items():
            if path == link or path.startswith(f"{link}/"):
                return target + path.removeprefix(link)
        return path

    def kind(self, path: str) -> PathKind:
        """What is described."""
        real = self.resolve(path)
        if real in self.files:
            return PathKind.FILE
        if real in self.sockets:
            return PathKind.OTHER
        return PathKind.DIRECTORY if real in self.directories else PathKind.MISSING


SEEN = Tree(
    directories=(
        *("/", "/home", "/home/hosted", "/home/hosted/app", "/home/hosted/app/in", "/home/hosted/$x", "/home/hostedx"),
        *(
            "/home/hosted/data",
            "/home/hosted/data/raw",
            "/data",
            "/data/raw",
            "/opt/models",
            "/mnt/big/raw",
            "/scratch",
        ),
    ),
    files=("/home/hosted/.env", "/home/hosted/app/conf.yml", "/etc/conf.yml", "/data/rows.csv", "/data/$x"),
    sockets=("/run/docker.sock",),
    links={"/home/hosted/link": "/mnt/big", "/var/run": "/run"},
)


def outside(*mounts: MountPoint, version: str = "26.1.5+dfsg1") -> Place:
    """A place in a container that has these mounts."""
    return Place(PlaceKind.OUTSIDE, mounts, "f" * 64, version)


def project(service: dict[str, Any], **top: Any) -> Project:
    """A project of one service, `job`, in Compose's canonical form."""
    services = {"job": {"image": "python:3.12-slim", **service}}
    return project_of({"name": "shop", "services": services, **top}, directory=Path("/home/hosted"), files=())


def bind(source: str, target: str = "/app", **more: Any) -> dict[str, Any]:
    """A bind mount as the canonical model has it."""
    return {"type": "bind", "source": source, "target": target, "bind": {}, **more}


def nested(place: Place, *volumes: dict[str, Any], tree: Tree = SEEN) -> Nesting:
    """The nesting of a project whose one job has these volumes."""
    return nest(project({"volumes": list(volumes)}), place, disk=tree)


def mounts(nesting: Nesting) -> list[dict[str, Any]]:
    """The volumes that the job has."""
    return list(nesting.model["services"]["job"].get("volumes", ()))


def sources(nesting: Nesting) -> dict[str, str]:
    """By target, the source of each of the job's mounts; of a volume with its path in it."""
    names = {key: value["name"] for key, value in nesting.model.get("volumes", {}).items()}
    return {
        mount["target"]: mount["source"]
        if mount["type"] == "bind"
        else f"{names[mount['source']]}:{mount['volume'].get('subpath', '')}"
        for mount in mounts(nesting)
    }


@pytest.mark.parametrize(
    ("source", "table", "becomes"),
    [
        # the mount itself, a directory and a file below it
        ("/home/hosted", [HOSTED], "/srv/shop"),
        ("/home/hosted/app", [HOSTED], "/srv/shop/app"),
        ("/home/hosted/app/conf.yml", [HOSTED], "/srv/shop/app/conf.yml"),
        # the longest destination wins, whatever the order, and components count, not letters
        ("/home/hosted/app", [HOSTED, MountPoint("/home", "bind", "/else")], "/srv/shop/app"),
        ("/home/hosted/app", [MountPoint("/home", "bind", "/else"), HOSTED], "/srv/shop/app"),
        ("/home/hostedx", [MountPoint("/home", "bind", "/else"), HOSTED], "/else/hostedx"),
        ("/home/hosted/app", [MountPoint("/", "bind", "/"), HOSTED], "/srv/shop/app"),
        ("/opt/models", [MountPoint("/", "bind", "/"), HOSTED], "/opt/models"),
        # a mount in a mount
        ("/home/hosted/data/raw", [HOSTED, MountPoint("/home/hosted/data", "bind", "/disk2")], "/disk2/raw"),
        ("/home/hosted/data/raw", [HOSTED, MountPoint("/home/hosted/data", "volume", "lake")], "lake:raw"),
        ("/home/hosted/app", [MountPoint("/home/hosted/app", "bind", "/other"), HOSTED], "/other"),
        # a single file that is a mount
        ("/etc/conf.yml", [MountPoint("/etc/conf.yml", "bind", "/srv/conf.yml")], "/srv/conf.yml"),
        # volumes: the whole, a directory, a file, and one of which a part is mounted here
        ("/data", [DATA], "lake:"),
        ("/data/raw", [DATA], "lake:raw"),
        ("/data/rows.csv", [DATA], "lake:rows.csv"),
        ("/data", [MountPoint("/data", "volume", "lake", "2026")], "lake:2026"),
        ("/data/raw", [MountPoint("/data", "volume", "lake", "2026/11")], "lake:2026/11/raw"),
        # symbolic links: of the source, and of what is mounted
        ("/home/hosted/link/raw", [HOSTED, MountPoint("/mnt/big", "bind", "/raid")], "/raid/raw"),
        (
            "/var/run/docker.sock",
            [MountPoint("/var/run/docker.sock", "bind", "/run/user/1000/docker.sock")],
            "/run/user/1000/docker.sock",
        ),
        # a socket is used through a read-only mount, too
        ("/run/docker.sock", [MountPoint("/run/docker.sock", "bind", "/run/d.sock", read_only=True)], "/run/d.sock"),
        # the spelling of the host: Windows, its other forms, macOS, WSL
        ("/home/hosted/app/in", [WINDOWS], "C:\\work\\hosted\\app\\in"),
        ("/home/hosted", [WINDOWS], "C:\\work\\hosted"),
        ("/home/hosted/app", [MountPoint("/home", "bind", "C:\\")], "C:\\hosted\\app"),
        ("/home/hosted/app", [MountPoint("/home/hosted", "bind", "C:/work/hosted")], "C:/work/hosted/app"),
        ("/home/hosted/app", [MountPoint("/home/hosted", "bind", "//c/work/hosted")], "//c/work/hosted/app"),
        ("/home/hosted/app", [MountPoint("/home/hosted", "bind", "\\\\nas\\work")], "\\\\nas\\work\\app"),
        (
            "/home/hosted/app",
            [MountPoint("/home/hosted", "bind", "/run/desktop/mnt/host/c/work/hosted")],
            "/run/desktop/mnt/host/c/work/hosted/app",
        ),
        ("/home/hosted/app", [MountPoint("/home/hosted", "bind", "/host_mnt/Users/me")], "/host_mnt/Users/me/app"),
        # a dollar sign, which the canonical model doubles
        ("/data/$$x", [DATA], "lake:$$x"),
        ("/home/hosted/$$x", [MountPoint("/home/hosted", "bind", "/srv/$HOME")], "/srv/$$HOME/$$x"),
    ],
)
def test_a_source_becomes_what_the_daemon_calls_it(source: str, table: list[MountPoint], becomes: str) -> None:
    """The innermost mount of this container decides; nothing is said of what arrives whole."""
    nesting = nested(outside(*table), bind(source))
    assert sources(nesting) == {"/app": becomes}
    assert nesting.problems == () and nesting.staged == ()


def test_a_translated_bind_never_makes_a_directory() -> None:
    """Docker must refuse a source that is gone by then; the other options of the mount stay."""
    asked = bind("/home/hosted/app", read_only=True, bind={"propagation": "rslave"})
    (made,) = mounts(nested(outside(HOSTED), asked))
    assert made["bind"] == {"propagation": "rslave", "create_host_path": False}
    assert made["read_only"] is True


def test_files_are_labelled_for_selinux() -> None:
    """Docker does that only in the form of mounts that may make directories."""
    (made,) = mounts(nested(Place(PlaceKind.HOST), bind("/home/hosted/app", bind={"selinux": "z"})))
    assert made["bind"] == {"selinux": "z"}


def test_a_path_of_a_volume_is_mounted_as_it_is() -> None:
    """No file of the image is copied into it, and the volume is one that exists already."""
    nesting = nested(outside(DATA), bind("/data/raw", read_only=True))
    assert mounts(nesting) == [
        {
            "type": "volume",
            "source": "lake",
            "target": "/app",
            "read_only": True,
            "volume": {"nocopy": True, "subpath": "raw"},
        }
    ]
    assert nesting.model["volumes"] == {"lake": {"name": "lake", "external": True}}


def test_a_volume_of_the_project_itself_keeps_its_entry() -> None:
    """A volume is one, also where it is mounted here and named in the files; another of its key is not touched."""
    given = {"lake": {"name": "shop_lake"}, "raw": {"name": "lake"}}
    model = nest(project({"volumes": [bind("/data/raw")]}, volumes=given), outside(DATA), disk=SEEN).model
    assert model["volumes"] == given and model["services"]["job"]["volumes"][0]["source"] == "raw"
    given = {"lake": {"name": "shop_lake"}}
    model = nest(project({"volumes": [bind("/data/raw")]}, volumes=given), outside(DATA), disk=SEEN).model
    assert model["volumes"] == {**given, "external.lake": {"name": "lake", "external": True}}


@pytest.mark.parametrize(
    ("asked", "place", "says", "todo"),
    [
        # engines before 26 take a subpath, and mount the whole volume
        (bind("/data/raw"), outside(DATA, version="25.0.6"), "mounts only whole volumes", "upgrade Docker to 26"),
        (bind("/data/raw"), outside(DATA, version="20.10.24+dfsg1"), "Docker 20.10.24+dfsg1", "mount a folder of the"),
        # what is written would be lost, or may not be written
        (bind("/opt/models"), outside(HOSTED), "what job writes there would be lost", "-v FOLDER-OF-THE-HOST:/opt/m"),
        (bind("/scratch"), outside(MountPoint("/scratch", "tmpfs", "")), "lies in a tmpfs of this", "docker run -v"),
        (
            bind("/home/hosted/app"),
            outside(MountPoint("/home/hosted", "bind", "/srv", read_only=True)),
            "lies in /home/hosted, which is mounted read-only",
            "write :ro where it is only read",
        ),
        # never an empty directory, whatever the files allow
        (bind("/home/hosted/typo"), outside(HOSTED), "/home/hosted/typo does not exist", "mkdir -p /home/hosted/typo"),
        (bind("/nowhere", read_only=True), outside(HOSTED), "/nowhere does not exist", "mounted into this container"),
        (bind("/home/hosted/typo"), Place(PlaceKind.HOST), "would be empty at /app", "make it: mkdir -p"),
        (
            bind("/home/hosted/x.yml", "/app/x.yml", bind={"create_host_path": True}),
            Place(PlaceKind.INSIDE),
            "/home/hosted/x.yml does not exist",
            "make the file",
        ),
        (bind("/dev/none"), Place(PlaceKind.HOST), "/dev/none does not exist", "has no such socket or device"),
        # a whole container cannot be copied, nor a file where no part of a volume can be mounted
        (bind("/", read_only=True), outside(HOSTED), "cannot be copied", "docker run -v"),
        (
            bind("/etc/conf.yml", read_only=True),
            outside(version="25.0.6"),
            "cannot mount a copy of a single file",
            "upgrade Docker to 26",
        ),
        # a daemon on another machine
        (bind("/home/hosted/app"), Place(PlaceKind.REMOTE), "Docker daemon is on another one", "use a named volume"),
    ],
)
def test_what_cannot_arrive_is_refused(asked: dict[str, Any], place: Place, says: str, todo: str) -> None:
    """With the place in the files, what is wrong, and what to do."""
    (problem,) = nested(place, asked).problems
    assert problem.fatal and (problem.service, problem.where) == ("job", "services.job.volumes")
    assert says in problem.message and todo in problem.hint
    if place.kind not in (PlaceKind.HOST, PlaceKind.INSIDE):
        assert "/app" not in sources(nested(place, asked))  # the untranslated source is not mounted either


def test_a_whole_volume_needs_no_new_engine() -> None:
    """Only a part of a volume does."""
    nesting = nested(outside(DATA, version="20.10.24"), bind("/data"))
    assert nesting.problems == () and sources(nesting) == {"/app": "lake:"}


@pytest.mark.parametrize(
    ("source", "name"), [("/opt/models", ""), ("/etc/conf.yml", "conf.yml")], ids=["directory", "file"]
)
def test_what_is_only_read_is_copied(source: str, name: str) -> None:
    """From the container's own layer into a volume of the project, with a notice; a file under its own name."""
    nesting = nested(outside(HOSTED), bind(source, "/in", read_only=True))
    (staged,) = nesting.staged
    assert (staged.source, staged.service, staged.target, staged.name) == (source, "job", "/in", name)
    assert sources(nesting) == {"/in": f"{staged.volume}:{name}"}
    assert mounts(nesting)[0]["read_only"] is True
    assert staged.volume.startswith("shop_staged-")
    (notice,) = nesting.problems
    assert not notice.fatal and "a copy of it is mounted at /in" in notice.message


def test_two_sources_are_copied_into_two_volumes() -> None:
    """And what two services read alike, into one."""
    volumes = [bind("/opt/models", "/a", read_only=True), bind("/mnt/big/raw", "/b", read_only=True)]
    first, second = nested(outside(), *volumes).staged
    (same,) = nested(outside(), bind("/opt/models", "/c", read_only=True)).staged
    assert first.volume != second.volume and first.volume == same.volume


def test_mounts_below_a_source_come_along() -> None:
    """As they do on a plain host: each at its place below the target, read-only where the whole is."""
    table = [
        HOSTED,
        MountPoint("/home/hosted/data", "volume", "lake"),
        MountPoint("/home/hosted/app/in", "bind", "/in"),
    ]
    assert sources(nested(outside(*table), bind("/home/hosted"))) == {
        "/app": "/srv/shop",
        "/app/data": "lake:",
        "/app/app/in": "/in",
    }
    whole = nested(outside(*table), bind("/home/hosted", read_only=True))
    assert all(mount["read_only"] for mount in mounts(whole))
    locked = nested(
        outside(HOSTED, MountPoint("/home/hosted/data", "volume", "lake", read_only=True)), bind("/home/hosted")
    )
    assert [mount.get("read_only", False) for mount in mounts(locked)] == [False, True] and locked.problems == ()


def test_a_copy_is_without_the_mounts_below_it() -> None:
    """They are mounted over it, and are not copied with it."""
    nesting = nested(outside(MountPoint("/home/hosted/data", "volume", "lake")), bind("/home/hosted", read_only=True))
    (staged,) = nesting.staged
    assert (staged.source, staged.without) == ("/home/hosted", ("data",))
    assert sources(nesting) == {"/app": f"{staged.volume}:", "/app/data": "lake:"}


def test_a_mount_of_the_service_hides_one_that_would_come_along() -> None:
    """At the same place, and above it."""
    table = [HOSTED, MountPoint("/home/hosted/data/raw", "volume", "lake")]
    own = {"type": "volume", "target": "/app/data", "volume": {}}
    assert len(mounts(nested(outside(*table), bind("/home/hosted"), own))) == 2
    service = {"volumes": [bind("/home/hosted")], "tmpfs": ["/app/data/raw"]}
    assert len(mounts(nest(project(service), outside(*table), disk=SEEN))) == 1


def test_memory_does_not_come_along() -> None:
    """A tmpfs below the source is this container's: that is said."""
    nesting = nested(outside(HOSTED, MountPoint("/home/hosted/app/in", "tmpfs", "")), bind("/home/hosted"))
    (notice,) = nesting.problems
    assert not notice.fatal and "/home/hosted/app/in is a tmpfs" in notice.message
    assert sources(nesting) == {"/app": "/srv/shop"}


@pytest.mark.parametrize("kind", [PlaceKind.OUTSIDE, PlaceKind.REMOTE])
@pytest.mark.parametrize("source", ["/proc", "/sys/fs/cgroup", "/dev/snd", "/var/run/docker.sock"])
def test_what_is_the_daemons_own_stays(source: str, kind: PlaceKind) -> None:
    """The kernel's file systems and Docker's socket, where no mount of this container has that name."""
    nesting = nested(Place(kind, (HOSTED,), "f" * 64, "26.1.5"), bind(source), tree=Tree())
    assert nesting.problems == () and sources(nesting) == {"/app": source}
    assert mounts(nesting)[0]["bind"]["create_host_path"] is False


def test_shared_memory_is_a_containers_own() -> None:
    """It lies below /dev, and another container has another one."""
    (problem,) = nested(outside(HOSTED), bind("/dev/shm"), tree=Tree(("/dev/shm",))).problems
    assert "would be lost" in problem.message


FILES: dict[str, Any] = {
    "secrets": {
        "key": {"name": "shop_key", "file": "/home/hosted/.env"},
        "token": {"name": "shop_token", "environment": "TOKEN"},
    },
    "configs": {
        "conf": {"name": "shop_conf", "file": "/data/rows.csv"},
        "text": {"name": "shop_text", "content": "a$$b"},
        "mine": {"name": "shop_mine", "file": "/etc/conf.yml"},
    },
}
DELIVERED: dict[str, Any] = {
    "secrets": [{"source": "key", "target": "/run/secrets/key"}, {"source": "token", "target": "/run/secrets/token"}],
    "configs": [{"source": "conf"}, {"source": "text", "target": "/etc/text"}, {"source": "mine", "target": "/m.yml"}],
}


def test_secrets_and_configs_that_are_files_become_mounts() -> None:
    """Read-only, at the place where Compose puts them; those of a variable or of the file itself stay."""
    nesting = nest(project(DELIVERED, **FILES), outside(HOSTED, DATA), disk=SEEN)
    service = nesting.model["services"]["job"]
    assert service["secrets"] == DELIVERED["secrets"][1:] and service["configs"] == DELIVERED["configs"][1:2]
    (staged,) = nesting.staged
    assert sources(nesting) == {
        "/run/secrets/key": "/srv/shop/.env",
        "/conf": "lake:rows.csv",
        "/m.yml": f"{staged.volume}:conf.yml",
    }
    assert all(mount["read_only"] for mount in mounts(nesting))
    assert [problem.where for problem in nesting.problems] == ["services.job.configs"]


def test_secrets_reach_a_remote_daemon_as_copies() -> None:
    """They are only read, so a copy is as good; a folder is not copied there unasked."""
    nesting = nest(project(DELIVERED, **FILES), Place(PlaceKind.REMOTE, engine_version="27.0.1"), disk=SEEN)
    assert [staged.source for staged in nesting.staged] == ["/home/hosted/.env", "/data/rows.csv", "/etc/conf.yml"]
    assert not any(problem.fatal for problem in nesting.problems)


def test_a_secret_that_is_no_file() -> None:
    """It is told by its own key, wherever the daemon is."""
    for place in (Place(PlaceKind.HOST), outside(HOSTED)):
        given = project({"secrets": [{"source": "key"}]}, secrets={"key": {"name": "k", "file": "/home/hosted/none"}})
        (problem,) = nest(given, place, disk=SEEN).problems
        assert problem.where == "services.job.secrets" and "make the file" in problem.hint
        assert "/home/hosted/none does not exist, and would be empty at /run/secrets/key" in problem.message


OTHERS: dict[str, Any] = {
    "build": {"context": "/home/hosted", "dockerfile": "Dockerfile", "args": {"A": "$$x"}},
    "develop": {"watch": [{"path": "/home/hosted/src", "action": "sync", "target": "/app"}]},
    "environment": {"FROM_ENV_FILE": "p$$d", "PASSED": None},
    "volumes": [
        {"type": "volume", "source": "data", "target": "/d", "volume": {"subpath": "x"}},
        {"type": "volume", "target": "/anonymous", "volume": {}},
        {"type": "tmpfs", "target": "/t", "tmpfs": {"size": "1000"}},
        {"type": "image", "source": "busybox", "target": "/i"},
    ],
    "tmpfs": ["/t2"],
}


def test_the_rest_stays_as_it_is() -> None:
    """Volumes, tmpfs, builds, variables: the same model, and the one that was given is not touched."""
    given = project(OTHERS, volumes={"data": {"name": "shop_data"}}, networks={"default": {"name": "shop_default"}})
    before = copy.deepcopy(given.raw)
    for place in (outside(HOSTED), Place(PlaceKind.HOST), Place(PlaceKind.INSIDE), Place(PlaceKind.REMOTE)):
        nesting = nest(given, place, disk=SEEN)
        assert nesting.model == before and nesting.problems == ()
    assert given.raw == before


@pytest.mark.parametrize("kind", [PlaceKind.HOST, PlaceKind.INSIDE])
def test_a_server_stays_to_the_byte_where_the_daemon_sees_this_disk(kind: PlaceKind) -> None:
    """Compose recreates a changed one, and its clients lose it. A job loses what two runs cannot share."""
    service = {"volumes": [bind("/home/hosted/app")], "container_name": "fixed"}
    given = project(service)
    server = project({**service, "ports": [{"target": 80}]})
    assert nest(server, Place(kind), disk=SEEN).model == server.raw
    nesting = nest(given, Place(kind), disk=SEEN)
    job = nesting.model["services"]["job"]
    assert "container_name" not in job and job["volumes"][0]["bind"] == {"create_host_path": False}
    (notice,) = nesting.problems
    assert notice.where == "services.job.container_name" and not notice.fatal


def test_only_what_is_asked_for_is_translated() -> None:
    """A service that is not started is neither changed nor complained of."""
    services = {"job": {"image": "a", "volumes": [bind("/nowhere")]}, "other": {"image": "b"}}
    given = project_of({"name": "shop", "services": services}, directory=Path("/"), files=())
    nesting = nest(given, outside(HOSTED), ["other"], disk=SEEN)
    assert nesting.problems == () and nesting.model == given.raw


def device(path: str, flags: str = "bind") -> dict[str, Any]:
    """A volume that is a bind mount itself."""
    return {"data": {"name": "shop_data", "driver_opts": {"type": "none", "o": flags, "device": path}}}


def test_a_volume_that_is_a_bind_itself() -> None:
    """Its device is translated; where that cannot be, or is not there, it is told."""
    service = {"volumes": [{"type": "volume", "source": "data", "target": "/d", "volume": {}}]}
    made = nest(project(service, volumes=device("/home/hosted/app")), outside(HOSTED), disk=SEEN)
    assert made.model["volumes"] == device("/srv/shop/app") and made.problems == ()
    assert made.model["services"]["job"]["volumes"] == service["volumes"]
    same = nest(project(service, volumes=device("/home/hosted/app")), Place(PlaceKind.HOST), disk=SEEN)
    assert same.model["volumes"] == device("/home/hosted/app")
    locked = outside(MountPoint("/home/hosted", "bind", "/srv", read_only=True))
    for path, place, says in [
        ("/data/raw", outside(DATA), "the volume data is /data/raw, which is in no folder of the host"),
        ("/home/hosted/none", outside(HOSTED), "/home/hosted/none does not exist"),
        ("/home/hosted/none", Place(PlaceKind.INSIDE), "/home/hosted/none does not exist"),
        ("/home/hosted/app", locked, "mounted read-only in this container"),
    ]:
        (problem,) = nest(project(service, volumes=device(path)), place, disk=SEEN).problems
        assert says in problem.message and problem.where == "services.job.volumes"
    assert nest(project(service, volumes=device("/home/hosted/app", "bind,ro")), locked, disk=SEEN).problems == ()


@pytest.mark.parametrize(
    ("path", "place", "names"),
    [
        ("/home/hosted/app", outside(WINDOWS), ("C:\\work\\hosted\\app", "/home/hosted/app")),
        ("/home/hosted/link/raw", outside(MountPoint("/mnt/big", "bind", "/raid")), ("/raid/raw", "/mnt/big/raw")),
        ("/data/raw", outside(DATA), ("volume lake, raw", "/data/raw")),
        ("/data", outside(DATA), ("volume lake", "/data")),
        ("/scratch", outside(MountPoint("/scratch", "tmpfs", "")), ("tmpfs of this container", "/scratch")),
        ("/opt/models", outside(HOSTED), ("this container's own layer", "/opt/models")),
        ("/opt/models", Place(PlaceKind.HOST), ("/opt/models",)),
        ("/opt/models", Place(PlaceKind.REMOTE), ("/opt/models",)),
    ],
)
def test_the_chain_of_a_source(path: str, place: Place, names: tuple[str, ...]) -> None:
    """From the daemon's host to the path that the files name, over symbolic links."""
    assert chain(path, place, SEEN)[: len(names)] == names
    assert chain(path, place, SEEN)[-1] == path


@pytest.mark.parametrize(
    ("version", "has"),
    [("26.0.0", True), ("28.2.2", True), ("25.0.6", False), ("20.10.24+dfsg1", False), ("4.3.1", False), ("", False)],
)
def test_which_engines_mount_a_part_of_a_volume(version: str, has: bool) -> None:
    """Docker's, from 26 on; a version that says nothing counts as none."""
    assert outside(version=version).has_subpath is has


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_the_disk_of_this_machine(tmp_path: Path) -> None:
    """Files, directories, links to them, dangling ones, and what is none of these."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    disk, here = LocalDisk(), str(tmp_path.resolve())
    names = ("folder", "file", "link", "link/none", "dangling", "loop")
    kinds = [disk.kind(f"{here}/{name}") for name in names]
    assert kinds == [PathKind.DIRECTORY, PathKind.FILE, PathKind.DIRECTORY, *[PathKind.MISSING] * 2, kinds[-1]]
    assert disk.kind("/dev/null") is PathKind.OTHER
    assert disk.kind(f"{here}/file/below") is PathKind.MISSING
    assert disk.resolve(f"{here}/link/x") == f"{here}/folder/x"
    assert disk.resolve(f"{here}/loop").startswith(here)


@pytest.mark.skipif(not hasattr(os, "setresuid") or os.geteuid() != 0, reason="becomes another user, as root can")
def test_what_this_user_may_not_see(tmp_path: Path) -> None:
    """It may be there, for the daemon: it is not missing, on any Python."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    os.seteuid(65534)
    try:
        kind = LocalDisk().kind(str(closed / "file"))
    finally:
        os.seteuid(0)
    assert kind is PathKind.OTHER


def test_compose_reads_the_nested_model_again(tmp_path: Path) -> None:
    """Values of an `env_file` are in it already, dollars and all; of the files only the sources have changed."""
    (tmp_path / "app").mkdir()
    (tmp_path / "values.env").write_text("TOKEN='a$b$$c'\n", encoding="utf-8")
    (tmp_path / "docker-compose.yml").write_text(
        "services: {job: {image: a, env_file: values.env, volumes: ['./app:/app', 'data:/d']}}\nvolumes: {data: {}}\n",
        encoding="utf-8",
    )
    loaded = load_project(LoadOptions(files=(str(tmp_path / "docker-compose.yml"),), project_name="shop"))
    nesting = nest(loaded, outside(MountPoint(str(tmp_path.resolve()), "bind", "C:\\work\\$x")))
    said = run_compose(["-f", "-", "-p", "shop", "config", "--format", "json"], json.dumps(nesting.model)).stdout
    service = project_of(json.loads(said), directory=tmp_path, files=()).services["job"]
    assert service.environment == loaded.services["job"].environment == {"TOKEN": "a$b$$c"}
    assert "env_file" not in nesting.model["services"]["job"]
    assert [mount.source for mount in service.mounts] == ["C:\\work\\$x\\app", "data"]
    assert service.mounts[0].create_host_path is False


def test_a_server_in_a_container_differs_by_its_sources_alone() -> None:
    """Its configuration is that of the same files on the host: Compose there and here does not recreate it."""
    mount = bind("/home/hosted/app", bind={"create_host_path": True})
    server = project({"volumes": [mount], "ports": [{"target": 80}]})
    made = nest(server, outside(HOSTED), disk=SEEN).model["services"]["job"]
    assert made == {**server.raw["services"]["job"], "volumes": [{**mount, "source": "/srv/shop/app"}]}
