"""The layout that the stack asks of a component, read from its files: each stands alone, its image is lean and safe."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from e2b_dockerfile_utils import DockerfileInstruction, parse_dockerfile_ast
from tests.conftest import REPOSITORY

from gigogne.compose.binary import compose_binary

WHOLE = "docker-compose.yml"
FILES = sorted(path.name for path in REPOSITORY.glob("docker-compose*.yml"))
PIPELINES = sorted(path.relative_to(REPOSITORY).as_posix() for path in REPOSITORY.glob("pipelines/*.yml"))
# Those of components: Airflow's starts from Airflow's own image, and the host container is Gigogne's.
DOCKERFILES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in REPOSITORY.glob("docker/**/Dockerfile")
    if path.relative_to(REPOSITORY).parts[1] not in ("airflow", "host")
)
# What people type: images of the catalogue, and of the fraud project; Airflow's is made of another image.
IMAGES = {
    "api": "mlops-rakuten/api:latest",
    "cleaning": "mlops-rakuten/clean-data:latest",
    "confirm": "mlops-fraud/confirm:latest",
    "drift": "mlops-rakuten/drift:latest",
    "drift_fraud": "mlops-fraud/drift:latest",
    "example": "mlops-rakuten/example:latest",
    "extract": "mlops-rakuten/extract:latest",
    "extractor_sql": "mlops-fraud/extractor_sql:latest",
    "logger_live": "mlops-fraud/logger_live:latest",
    "logger_sql": "mlops-fraud/logger_sql:latest",
    "ml-worker": "mlops-rakuten/ml-worker:latest",
    "mlflow-server": "mlops-rakuten/mlflow-server:latest",
    "monitor": "mlops-rakuten/monitor:latest",
    "player": "mlops-fraud/player:latest",
    "scorer": "mlops-fraud/scorer:latest",
    "simulator": "mlops-fraud/simulator:latest",
    "train": "mlops-rakuten/train:latest",
    "train_fraud": "mlops-fraud/train_fraud:latest",
    "transform": "mlops-rakuten/transform:latest",
}
# What a file refuses to start on, when it is told to listen elsewhere.
DEFAULTS = [
    ("api", "API_USERS_FILE"),
    ("db", "MONGO_PASSWORD"),
    ("fraud", "SCORER_USERS_FILE"),
    ("mlflow", "MINIO_ROOT_PASSWORD"),
    ("monitoring", "GRAFANA_PASSWORD"),
]
LABELS = {f"org.opencontainers.image.{name}" for name in ("title", "description", "source", "licenses")}
# What only a builder may do.
BUILDING = re.compile(r"\b(apt-get|apt|gcc|make|pip3?|uv)\b")
VARIABLE = re.compile(r"(?<!\$)\$\{([A-Z][A-Z0-9_]*)")


def config(*files: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`docker compose config` of these files, every profile on, with no variable of this shell's own."""
    words = [word for file in files for word in ("-f", file)]
    return subprocess.run(
        [str(compose_binary()), *words, "--profile", "*", "config", "--format", "json"],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", ""), **environment},
        capture_output=True,
        text=True,
    )


def model(*files: str) -> dict[str, Any]:
    """The canonical model of these files."""
    read = config(*files)
    assert read.returncode == 0, read.stderr
    found: dict[str, Any] = json.loads(read.stdout)
    return found


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    """The model of everything."""
    return model(WHOLE)


def instructions(dockerfile: str) -> list[list[DockerfileInstruction]]:
    """The instructions of a Dockerfile, by stage."""
    stages: list[list[DockerfileInstruction]] = []
    for each in parse_dockerfile_ast((REPOSITORY / dockerfile).read_text(encoding="utf-8")).instructions:
        if each.name.upper() == "FROM":
            stages.append([])
        if stages:
            stages[-1].append(each)
    return stages


def named(stage: Sequence[DockerfileInstruction], name: str) -> list[DockerfileInstruction]:
    """The instructions of one name."""
    return [each for each in stage if each.name.upper() == name]


@pytest.mark.parametrize("file", FILES)
def test_each_file_stands_alone(file: str) -> None:
    """Compose accepts it by itself: one project, one network, names of containers left to Compose."""
    found = model(file)
    assert found["name"] == "mlops"
    assert [network["name"] for network in found["networks"].values()] == ["mlops-network"]
    for name, service in found["services"].items():
        assert list(service["networks"]) == ["default"], name
        assert "container_name" not in service, name
        _, _, tag = service["image"].rpartition(":")
        assert (tag == "latest") is ("build" in service), f"{name}: {service['image']}"


def test_files_go_together() -> None:
    """Any two of them, and the pipelines beside the whole: nothing is stated twice in two ways."""
    for pair in itertools.combinations(FILES, 2):
        assert (read := config(*pair)).returncode == 0, (pair, read.stderr)
    everything = model(WHOLE)
    parts = [model(file)["services"] for file in FILES if file != WHOLE]
    assert everything["services"] == {name: service for part in parts for name, service in part.items()}


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_a_pipeline_adds_edges_and_nothing_else(pipeline: str, whole: dict[str, Any]) -> None:
    """Between jobs of different components: in the components' own files there are none."""
    services = model(WHOLE, pipeline)["services"]
    added = {name for name, service in services.items() if service != whole["services"][name]}
    assert added
    for name in added:
        before, after = (dict(each["services"][name]) for each in (whole, {"services": services}))
        edges, all_edges = (each.pop("depends_on", {}) for each in (before, after))
        assert before == after and edges.items() <= all_edges.items()


def test_up_cleaning_starts_only_cleaning(whole: dict[str, Any]) -> None:
    """It waits for nobody, and nobody for it, but in a pipeline; training and drift are asked for by name."""
    services = whole["services"]
    assert "depends_on" not in services["cleaning"]
    assert not [name for name, service in services.items() if "cleaning" in service.get("depends_on", {})]
    assert services["train"]["profiles"] == ["train"] and services["drift"]["profiles"] == ["drift"]


def test_up_api_starts_only_api_and_what_it_stores_into(whole: dict[str, Any]) -> None:
    """MLflow may be away: the API says so, and waits for it itself."""
    services = whole["services"]
    assert list(services["api"]["depends_on"]) == ["mongodb"] and "depends_on" not in services["mongodb"]
    assert set(model("docker-compose-api.yml")["services"]) == {"api", "mongodb"}


def test_what_gigogne_is_told_is_there(whole: dict[str, Any]) -> None:
    """The pipelines, what a bare `gigogne run` runs, and what a bare `gigogne up` keeps up."""
    told = whole["x-gigogne"]
    assert sorted(told["pipelines"].values()) == PIPELINES
    assert set(told["run"]) <= {*told["pipelines"], *whole["services"]}
    assert all(whole["services"][name]["restart"] == "unless-stopped" for name in told["up"])


def test_images_are_named_as_people_type_them(whole: dict[str, Any]) -> None:
    """By component; what a Dockerfile of the stack makes has such a name."""
    named = {name: service["image"] for name, service in whole["services"].items() if "build" in service}
    assert {name: image for name, image in named.items() if not name.startswith("airflow-")} == IMAGES


def test_servers_can_be_asked_for_their_health(whole: dict[str, Any]) -> None:
    """What stays up has a health check, is started again, and listens on this machine alone."""
    for name, service in whole["services"].items():
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", ())), name
        if service.get("restart", "no") == "no":
            assert "ports" not in service, f"{name} has ports, and no restart"
            continue
        dockerfile = service.get("build", {}).get("dockerfile")
        own = dockerfile and any(named(stage, "HEALTHCHECK") for stage in instructions(dockerfile))
        assert own or "healthcheck" in service, f"{name} stays up, and nobody can ask how it is"


@pytest.mark.parametrize(("file", "variable"), DEFAULTS)
def test_default_passwords_are_for_this_machine_alone(file: str, variable: str) -> None:
    """A stack told to listen elsewhere does not start on them; the message names the variable."""
    others = dict.fromkeys({"POSTGRES_PASSWORD", *(each for _, each in DEFAULTS)} - {variable}, "mine")
    refused = config(f"docker-compose-{file}.yml", BIND_ADDRESS="0.0.0.0", **others)
    assert refused.returncode != 0 and f"so set {variable} too" in refused.stderr


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_images_are_lean_and_safe(dockerfile: str) -> None:
    """Two stages, and no tool of the first in the last; an ordinary user; labels; signals reach the program."""
    *builders, final = instructions(dockerfile)
    assert builders, "one stage: what builds stays in the image"
    for run in named(final, "RUN"):
        assert not BUILDING.search(run.original), run.original
    for copy in named(final, "COPY"):
        assert not any("uv" in flag for flag in copy.flags), copy.original
    groups = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    wanted = [word for stage in builders for run in named(stage, "RUN") for word in _groups(run.original)]
    assert wanted and set(wanted) <= set(groups)
    assert [user.args for user in named(final, "USER")][-1:] == [["mluser"]]
    assert any("--uid 1000" in run.original and "mluser" in run.original for run in named(final, "RUN"))
    (command,) = named(final, "CMD")
    assert command.json, command.original
    labels = {key: value for label in named(final, "LABEL") for key, value in _pairs(label)}
    assert labels.keys() >= LABELS and all(labels.values())


def _groups(command: str) -> list[str]:
    return re.findall(r"--group[ =]([\w-]+)", command)


def _pairs(label: DockerfileInstruction) -> Iterator[tuple[str, str]]:
    for key, value in zip(label.args[::3], label.args[1::3], strict=True):
        yield key, value.strip('"')


def test_every_variable_is_in_the_example() -> None:
    """`.env.example` names each variable that a Compose file reads, once, and no other."""
    lines = (REPOSITORY / ".env.example").read_text(encoding="utf-8").splitlines()
    offered = [line.lstrip("#").partition("=")[0] for line in lines if re.match(r"#[A-Z][A-Z0-9_]*=", line)]
    assert len(offered) == len(set(offered))
    read = {file: set(VARIABLE.findall((REPOSITORY / file).read_text(encoding="utf-8"))) for file in FILES}
    assert {file: names - set(offered) for file, names in read.items() if names - set(offered)} == {}
    assert set(offered) == set().union(*read.values())
