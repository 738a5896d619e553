"""The images that a stage, or a service without a build, can start from: what the process engine has in their place.

The table at the end is read in order, and printed in docs/reference/dockerfile-support.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gigogne.engines.process.image.recipe import PYTHON_ENVIRONMENT, User

__all__ = ["FAMILIES", "KNOWN_IMAGES", "Base", "Family", "base_of", "is_known_image"]


@dataclass(frozen=True, slots=True)
class Base:
    """What a stage has when it starts from an image.

    Attributes:
        python: The Python that the image has (`3.12`); `3` when any will do.
        packages: What is installed into it, in pip's words.
        userland: The image's name, where its commands are this machine's own.
        has_uv: Whether it has the program uv.
        only_uv: Whether it is there for that program alone.
        environment: Its variables.
        users: The users that it has beside those of every image.
        user: The user that commands run as; empty for root.
        working_dir: Where they run.
        folders: Further directories that it has.
        entrypoint: Its entry point.
        command: Its command.
        scripts: The programs of its own that the entry point needs: path → text.
        notice: What is different here, and what to do about it.
    """

    python: str = "3"
    packages: tuple[str, ...] = ()
    userland: str = ""
    has_uv: bool = False
    only_uv: bool = False
    environment: Mapping[str, str] = field(default_factory=lambda: PYTHON_ENVIRONMENT)
    users: Mapping[str, User] = field(default_factory=dict)
    user: str = ""
    working_dir: str = "/"
    folders: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ("python3",)
    scripts: Mapping[str, str] = field(default_factory=dict)
    notice: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Family:
    """Images of one kind: `name` as a reader knows it, `meaning` in a line, `make` for what a reference asks for."""

    name: str
    pattern: re.Pattern[str]
    meaning: str
    make: Callable[[re.Match[str]], Base | None]


def base_of(image: str) -> Base | None:
    """What there is in place of `image`, whatever its registry and digest; None when there is nothing."""
    reference = image.partition("@")[0]
    for family in FAMILIES:
        if match := family.pattern.fullmatch(reference):
            return family.make(match)
    return None


def is_known_image(image: str) -> bool:
    """Whether the process engine can make this image without Docker."""
    return base_of(image) is not None


def _python(match: re.Match[str]) -> Base | None:
    version = match["version"] or "3"
    return Base(version, environment=PYTHON_ENVIRONMENT | {"PYTHON_VERSION": version}) if version[0] == "3" else None


def _uv(match: re.Match[str]) -> Base | None:
    version = match["version"] or "3"
    environment = PYTHON_ENVIRONMENT | {"PYTHON_VERSION": version}
    return Base(version, environment=environment, has_uv=True, only_uv=version == "3")


def _userland(match: re.Match[str]) -> Base | None:
    name = match["name"]
    shell = "bash" if name in ("bash", "debian", "ubuntu") else "sh"
    notice = (f"the commands of {name} are this machine's own, read only", "")
    path = {"PATH": PYTHON_ENVIRONMENT["PATH"]}
    return Base(userland=name, environment=path, command=(shell,), notice=notice)


# As the image's own entry point: a shell or Python where that is asked for, else Airflow's command.
_AIRFLOW_ENTRYPOINT = """\
import os
import subprocess
import sys

if os.environ.get("_PIP_ADDITIONAL_REQUIREMENTS"):
    sys.exit("_PIP_ADDITIONAL_REQUIREMENTS needs Docker: start a Dockerfile from this image, and RUN pip install them")
os.umask(0o002)
if os.environ.get("_AIRFLOW_DB_MIGRATE") or os.environ.get("_AIRFLOW_DB_UPGRADE"):
    subprocess.run(["airflow", "db", "migrate"], check=False)
words = sys.argv[1:]
if words[:1] not in (["bash"], ["python"]):
    words = ["airflow", *(words[1:] if words[:1] == ["airflow"] else words)]
os.execvp(words[0], words)
"""


def _airflow(match: re.Match[str]) -> Base | None:
    version = match["version"]
    message = "Airflow is installed with its standard providers and PostgreSQL's; the image has more"
    hint = "install the others that you use: FROM this image, and RUN pip install apache-airflow-providers-…"
    if not version:
        message = f"{message}; no version is named, so it is the newest"
    environment = PYTHON_ENVIRONMENT | {
        "PATH": f"/home/airflow/.local/bin:{PYTHON_ENVIRONMENT['PATH']}",
        "AIRFLOW_HOME": "/opt/airflow",
        "AIRFLOW_USER_HOME_DIR": "/home/airflow",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "HOME": "/home/airflow",
    }
    return Base(
        python=match["python"] or "3.12",
        packages=(_pinned("apache-airflow[postgres]", version),),
        environment=environment | ({"AIRFLOW_VERSION": version} if version else {}),
        users={"airflow": User(50000, 0, "/home/airflow")},
        user="airflow",
        working_dir="/opt/airflow",
        folders=("/home/airflow", "/opt/airflow/dags", "/opt/airflow/logs"),
        entrypoint=("python", "/entrypoint"),
        command=(),
        scripts={"/entrypoint": _AIRFLOW_ENTRYPOINT},
        notice=(message, hint),
    )


def _mlflow(match: re.Match[str]) -> Base | None:
    version = match["version"]
    notice = ("", "") if version else ("no version is named, so it is the newest MLflow", "write a version in the tag")
    # Releases before 3.17 do not say that they break with SQLAlchemy 2.1: their images were built before it.
    numbers = tuple(map(int, re.findall(r"\d+", version or "")[:2]))
    with_them = ("sqlalchemy<2.1",) if version and numbers < (3, 17) else ()
    return Base("3.11", packages=(_pinned("mlflow", version), *with_them), notice=notice)


def _pinned(distribution: str, version: str | None) -> str:
    return f"{distribution}=={version}" if version else distribution


# Mirrors keep the names; a registry's own part of a name has a dot or a port.
_MIRROR = r"(?:.*/)?"
_OFFICIAL = r"(?:[^/]*[.:][^/]*/(?:.*/)?)?(?:library/)?"

FAMILIES = (
    Family(
        "python",
        re.compile(rf"{_MIRROR}python(?::(?P<version>\d+(?:\.\d+)?)?[^/]*)?"),
        "any tag of Python 3, from any registry: its minor version, by uv; none named: the newest that is here",
        _python,
    ),
    Family(
        "ghcr.io/astral-sh/uv",
        re.compile(rf"{_MIRROR}astral-sh/uv(?::(?:python(?P<version>\d+\.\d+))?[^/]*)?"),
        "`python3.12-…` tags are Python images; the others only bring uv, which is here already",
        _uv,
    ),
    Family(
        "apache/airflow",
        re.compile(
            rf"{_MIRROR}apache/airflow(?::(?:slim-)?(?:latest|(?P<version>\d[^/-]*))?(?:-?python(?P<python>3\.\d+))?)?"
        ),
        "`apache-airflow` of the tag's version on the tag's Python (3.12 when it names none), uid 50000, "
        "`/opt/airflow`, and an entry point that runs `airflow ARGS`, `bash` or `python`",
        _airflow,
    ),
    Family(
        "ghcr.io/mlflow/mlflow",
        re.compile(rf"{_MIRROR}mlflow/mlflow(?::(?:latest|v?(?P<version>\d[^/-]*)))?"),
        "`mlflow` of the tag's version on Python 3.11, no entry point",
        _mlflow,
    ),
    Family(
        "busybox, alpine, debian, ubuntu, bash",
        re.compile(rf"{_OFFICIAL}(?P<name>busybox|alpine|debian|ubuntu|bash)(?::[^/]*)?"),
        "any tag: the commands are this machine's own, in the sandbox; without one it is refused, because a command "
        "would write to this machine itself",
        _userland,
    ),
)
"""The images that can be stood in for. The first family that fits a reference is the one that is meant."""

KNOWN_IMAGES = tuple(name for family in FAMILIES for name in family.name.split(", "))
"""Their names, as users know them."""
