"""Stand-ins for the images that the stack and the tests name, for machines that reach no image registry.

    python tests/images/build.py                 what the gate needs
    python tests/images/build.py airflow         these, and what they are made of
    python tests/images/build.py --list          what there is

An image is built when it is missing or when what it is made of has changed. README.md says what each imitates.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
LABEL = "gigogne.test.stand-in"
SUITE = "trixie"
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
# As in the official slim images.
EXCLUDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*")
# No package is kept after its installation, nor a cache of the lists.
APT_AS_IN_IMAGES = (
    'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };',
    'Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";',
    'Acquire::Languages "none";',
)


class BuildError(Exception):
    """An image cannot be built here; the message ends with what to do."""


@dataclass(frozen=True)
class Image:
    """One stand-in: its folder, the names that it gets, the stand-ins that its Dockerfile starts from."""

    folder: str
    tags: tuple[str, ...]
    needs: tuple[str, ...] = ("debian",)
    arguments: Mapping[str, str] = field(default_factory=dict)
    # What goes into the build context beside the folder: how to write it there, and what it is made of.
    extra: Callable[[Path, Mapping[str, str]], None] | None = None
    identity: Callable[[Mapping[str, str]], str] | None = None


def output(*command: str) -> str:
    """What a program prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


# How this machine reaches packages: read from its configuration at build time, written into the base image alone.


@functools.cache
def debian_uri() -> str:
    """Where this machine gets Debian's packages from."""
    release = output("sh", "-c", '. /etc/os-release && echo "$VERSION_CODENAME"').strip()
    targets = output("apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)",
                     "Created-By: Packages")  # fmt: skip
    for line in targets.splitlines():
        codename, component, uri = line.split()
        if codename == release and component == "main":
            return uri
    raise BuildError("apt names no source of this release's `main`: look into /etc/apt/sources.list")


@functools.cache
def machine_files() -> dict[str, str]:
    """The files that let apt, pip and uv work inside the images as they do on this machine."""
    bundle = BUNDLE.read_text(encoding="utf-8")
    pip = {"cert": str(BUNDLE), "disable-pip-version-check": "1", "root-user-action": "ignore"}
    for line in output(sys.executable, "-m", "pip", "config", "list").splitlines():
        key, _, value = line.partition("=")
        name, value = key.rpartition(".")[2], value.strip("'\"")
        # What is a path on this machine is none in an image.
        if (
            name in {"index-url", "extra-index-url", "trusted-host", "timeout", "default-timeout"}
            and "file:" not in value
        ):
            pip[name] = value
    uv = ["native-tls = true"]
    if "index-url" in pip:
        uv += ["[[index]]", f'url = "{pip["index-url"]}"', "default = true"]
    wanted = ("Acquire::Check-", "Acquire::http::", "Acquire::https::")
    apt = [line for line in output("apt-config", "dump").splitlines() if line.startswith(wanted)]
    return {
        str(BUNDLE): bundle,
        # Where `ca-certificates` looks when an image installs it and it writes the bundle anew.
        "/usr/local/share/ca-certificates/this-machine.crt": bundle,
        "/etc/pip.conf": "\n".join(["[global]", *(f"{name} = {value}" for name, value in pip.items()), ""]),
        "/etc/uv/uv.toml": "\n".join([*uv, ""]),
        "/etc/apt/apt.conf.d/90this-machine": "\n".join([*APT_AS_IN_IMAGES, *apt, ""]),
    }


def write_rootfs(context: Path, arguments: Mapping[str, str]) -> None:
    """Debian's root file system, and this machine's files."""
    if not shutil.which("mmdebstrap"):
        raise BuildError("mmdebstrap is missing: apt-get install mmdebstrap")
    options = ['--aptopt=Acquire::Languages "none"', "--dpkgopt=force-unsafe-io"]
    options += [f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED]
    options += ["--dpkgopt=path-include=/usr/share/doc/*/copyright"]
    command = ["mmdebstrap", "--variant=minbase", "--mode=root", "--quiet", *options]
    command += [SUITE, str(context / "rootfs.tar"), f"deb {debian_uri()} {SUITE} main"]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        raise BuildError(f"mmdebstrap failed: {made.stderr[-2000:]}\ntry it by hand: {' '.join(command)}")
    for name, text in machine_files().items():
        path = context / "machine" / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def rootfs_identity(arguments: Mapping[str, str]) -> str:
    """What the base is made of."""
    return repr((SUITE, EXCLUDED, debian_uri(), sorted(machine_files().items())))


# The interpreter: pyenv's, else one on PATH that is not the distribution's own.


@functools.cache
def interpreter(minor: str) -> Path:
    """The folder of a relocatable CPython of this version."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = sorted(root.glob(f"{minor}.*/bin/python{minor}"))
    on_path = shutil.which(f"python{minor}")
    for program in [*reversed(candidates), *([Path(on_path)] if on_path else [])]:
        found = subprocess.run(
            [program, "-I", "-c", "import sys; print(sys.base_prefix)"], capture_output=True, text=True
        )
        prefix = Path(found.stdout.strip() or "/usr")
        if found.returncode == 0 and prefix != Path("/usr"):
            return prefix
    raise BuildError(f"there is no Python {minor} of its own folder: install one, as with `pyenv install {minor}`")


def write_interpreter(context: Path, arguments: Mapping[str, str]) -> None:
    """CPython without what was installed into it, its tests and its static library."""
    minor = arguments["MINOR"]
    source, target = interpreter(minor), context / "interpreter"
    library = f"lib/python{minor}"

    def left_out(folder: str, names: list[str]) -> set[str]:
        inside = Path(folder).relative_to(source)
        unwanted = {"__pycache__"}
        if inside == Path(library):
            unwanted |= {"site-packages", "test", *(name for name in names if name.startswith("config-"))}
        return unwanted & set(names) | {name for name in names if name.endswith(".a")}

    for part in ("include", library):
        shutil.copytree(source / part, target / part, symlinks=True, ignore=left_out)
    (target / library / "site-packages").mkdir()
    (target / "bin").mkdir()
    for path in (source / "lib").glob("libpython*.so*"):
        shutil.copy2(path, target / "lib" / path.name, follow_symlinks=False)
    for name in ("python", "pydoc", "idle"):
        shutil.copy2(source / "bin" / f"{name}{minor}", target / "bin" / f"{name}{minor}")
        (target / "bin" / f"{name}3").symlink_to(f"{name}{minor}")


def interpreter_identity(arguments: Mapping[str, str]) -> str:
    """Which CPython it is."""
    return output(str(interpreter(arguments["MINOR"]) / "bin" / f"python{arguments['MINOR']}"), "-VV")


def _python(minor: str) -> Image:
    tags = (f"python:{minor}-slim", f"python:{minor}", f"python:{minor}-slim-trixie")
    return Image("python", tags, arguments={"MINOR": minor}, extra=write_interpreter, identity=interpreter_identity)


# The builder: this machine's own, which its Docker has as a plug-in.


@functools.cache
def buildx() -> Path:
    """The program `docker-buildx`."""
    folders = [*Path("/usr").glob("lib*/docker/cli-plugins"), Path("/usr/local/lib/docker/cli-plugins")]
    found = next((folder / "docker-buildx" for folder in folders if (folder / "docker-buildx").is_file()), None)
    if found is None:
        raise BuildError("docker-buildx is missing: apt-get install docker-buildx")
    return found


def write_buildx(context: Path, arguments: Mapping[str, str]) -> None:
    """The program."""
    shutil.copy2(buildx(), context / "buildx")


def buildx_identity(arguments: Mapping[str, str]) -> str:
    """Which buildx it is."""
    return output(str(buildx()), "version")


IMAGES = {
    "debian": Image(
        "debian", ("debian:trixie-slim", "debian:13-slim"), (), extra=write_rootfs, identity=rootfs_identity
    ),
    "busybox": Image("busybox", ("busybox:1.36", "busybox:latest")),
    "python3.12": _python("3.12"),
    "postgres": Image("postgres", ("postgres:17",)),
    "uv": Image("uv", ("ghcr.io/astral-sh/uv:0.9",), ("python3.12",)),
    "buildx": Image("buildx", ("docker/buildx-bin:0.29.1",), (), extra=write_buildx, identity=buildx_identity),
    "seaweedfs": Image("seaweedfs", ("chrislusf/seaweedfs:4.48",), ("python3.12", "busybox")),
    "mongo": Image("mongo", ("mongo:7",), ("python3.12", "uv")),
    "python3.11": _python("3.11"),
    "prometheus": Image("prometheus", ("prom/prometheus:v3.13.2",), ("debian", "busybox")),
    "alertmanager": Image("alertmanager", ("prom/alertmanager:v0.34.0",), ("debian", "busybox")),
    "grafana": Image("grafana", ("grafana/grafana:12.4.3",), ("busybox",)),
    "airflow": Image("airflow", ("apache/airflow:3.3.2",), ("python3.12", "uv")),
}
ON_REQUEST = {"airflow"}


@functools.cache
def digest(name: str) -> str:
    """What an image is made of, in one word."""
    image = IMAGES[name]
    total = hashlib.sha256(repr((image.tags, sorted(image.arguments.items()))).encode())
    for path in sorted((HERE / image.folder).rglob("*")):
        if path.is_file():
            total.update(repr((path.name, path.stat().st_mode & 0o111, path.read_bytes())).encode())
    total.update((image.identity(image.arguments) if image.identity else "").encode())
    for needed in image.needs:
        total.update(digest(needed).encode())
    return total.hexdigest()[:16]


@dataclass(frozen=True)
class Present:
    """An image that the engine has: its id, and the hash of what it was made of where it is a stand-in."""

    id: str
    stand_in: str


def present(tag: str) -> Present | None:
    """The image of this name, if there is one."""
    wanted = f'{{{{.Id}}}} {{{{index .Config.Labels "{LABEL}"}}}}'
    found = subprocess.run(["docker", "image", "inspect", "--format", wanted, tag], capture_output=True, text=True)
    identity, _, stand_in = found.stdout.strip().partition(" ")
    return Present(identity, stand_in) if found.returncode == 0 else None


def build(name: str) -> str:
    """Build one image if need be; says what was done."""
    image, started = IMAGES[name], time.monotonic()
    wanted = digest(name)
    there = [present(tag) for tag in image.tags]
    if all(each and each.stand_in == wanted for each in there):
        return f"{name}: is there ({image.tags[0]})"
    if any(each and not each.stand_in for each in there):
        return f"{name}: {image.tags[0]} is there and is no stand-in of ours, so it is left alone"
    with tempfile.TemporaryDirectory(prefix="stand-in-") as folder:
        context = Path(folder)
        shutil.copytree(HERE / image.folder, context, dirs_exist_ok=True)
        if image.extra:
            image.extra(context, image.arguments)
        command = ["docker", "build", "--quiet", "--label", f"{LABEL}={wanted}"]
        for key, value in image.arguments.items():
            command += ["--build-arg", f"{key}={value}"]
        for tag in image.tags:
            command += ["--tag", tag]
        environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
        made = subprocess.run([*command, str(context)], capture_output=True, text=True, env=environment)
    if made.returncode:
        raise BuildError(f"{name}: docker build failed:\n{made.stderr[-4000:]}")
    nameless = set(output("docker", "image", "ls", "--filter", "dangling=true", "--no-trunc", "--quiet").split())
    for before in nameless & {each.id for each in there if each}:
        # It stays where a container was made of it.
        subprocess.run(["docker", "image", "rm", before], capture_output=True)
    size = int(output("docker", "image", "inspect", "--format", "{{.Size}}", image.tags[0])) / 1e6
    return f"{name}: built in {time.monotonic() - started:.0f} s, {size:.0f} MB ({', '.join(image.tags)})"


def with_needs(names: list[str]) -> list[str]:
    """The images asked for and what they are made of, the latter first."""
    ordered: dict[str, None] = {}
    for name in names:
        ordered |= dict.fromkeys([*with_needs(list(IMAGES[name].needs)), name])
    return list(ordered)


def main() -> int:
    """Build what is asked for, two at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", choices=[*IMAGES, []], metavar="IMAGE", help=", ".join(IMAGES))
    parser.add_argument("--list", action="store_true", help="print the images and their names")
    arguments = parser.parse_args()
    if arguments.list:
        print(*(f"{name}: {', '.join(image.tags)}" for name, image in IMAGES.items()), sep="\n")
        return 0
    names = with_needs(arguments.images or [name for name in IMAGES if name not in ON_REQUEST])
    running: dict[str, Future[str]] = {}

    def after_its_needs(name: str) -> str:
        for needed in IMAGES[name].needs:  # they were submitted before, so none of them waits for a free worker
            running[needed].result()
        return build(name)

    try:
        with ThreadPoolExecutor(3) as pool:
            for name in names:
                running[name] = pool.submit(after_its_needs, name)
            for name in names:
                print(running[name].result(), flush=True)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
