"""Pipelines as people write them who never heard of Gigogne: each runs unchanged, both ways, or is refused by name.

Those with servers are in `test_projects_with_servers.py`.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import Workspace
from tests.scenarios.foreign import Scenario, play, refusal, settle

# The shells and paths of containers; what a file refuses is the same on Windows.
posix = pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX systems")

SCENARIOS = [
    Scenario(
        "modules",
        order=("extract", "transform", "load"),
        says={"extract": "extracted 5 orders", "transform": "kept 4 of 5 orders", "load": "loaded 3 countries"},
        files={"data/report.toml": "[totals]\nFrance = 52.5\nItaly = 19.99\nGermany = 10.0\n"},
    ),
    Scenario(
        "one-image",
        order=("ingest", "features", "score"),
        says={"ingest": "hello from .env 4 customers ''"},
        files={"reports/churn.json": '{"at_risk": ["bob", "dan"], "ignored_but_there": []}'},
    ),
    Scenario(
        "one-image",
        ("--env-file", "strict.env", "run", "score"),
        order=("ingest", "features", "score"),
        says={"ingest": "hello from .env 4 customers ''"},
        files={"reports/churn.json": '{"at_risk": ["dan"], "ignored_but_there": []}'},
    ),
    Scenario(
        "one-image",
        order=("ingest", "features", "score"),
        environment={"THRESHOLD": "0.3", "GREETING": "the shell's is not asked for"},
        says={"ingest": "hello from .env 4 customers ''"},
        files={"reports/churn.json": '{"at_risk": ["bob", "cid", "dan"], "ignored_but_there": []}'},
    ),
    Scenario(
        "overrides",
        order=("export",),
        files={
            "out/items.json": '{"env": "development", "items": [{"sku": "a-1", "stock": 3}, '
            '{"sku": "b-2", "stock": 0}]}'
        },
    ),
    Scenario(
        "overrides",
        ("-f", "docker-compose.yml", "-f", "docker-compose.prod.yml", "run"),
        order=("export", "notify"),
        says={"notify": "notified production"},
        files={"out/prod.csv": "sku,stock\na-1,3\nb-2,0\n"},
    ),
    Scenario(
        "overrides",
        environment={"COMPOSE_FILE": os.pathsep.join(["docker-compose.yml", "docker-compose.prod.yml"])},
        order=("export", "notify"),
        files={"out/prod.csv": "sku,stock\na-1,3\nb-2,0\n"},
    ),
    Scenario("profiles", order=("prepare",)),
    Scenario(
        "profiles",
        ("--profile", "train", "run"),
        order=("prepare", "train"),
        files={"models/model.json": '{"slope": 3.0, "intercept": 1.0}'},
    ),
    Scenario(
        "profiles",
        ("run", "train"),
        order=("prepare", "train"),
        environment={"COMPOSE_PROFILES": ""},
        says={"train": ""},
    ),
    Scenario(
        "profiles",
        ("run", "evaluate"),
        before=(("run", "train"),),
        order=("evaluate",),
        says={"evaluate": "largest error 0.000"},
    ),
    Scenario(
        "fragments",
        order=("split", "count", "publish"),
        environment={"STAGE_VOLUME": "words.stage_1"},
        says={
            "split": "split plain 3 false",
            "count": "count plain 3 true",
            "publish": "publish extended 5 false",
        },
        files={"volume:words.stage_1/top.json": '{"top": ["the", 3], "flavour": "extended"}'},
    ),
    Scenario(
        "multi-stage",
        order=("prefix uv venv",),
        files={
            "out/prefix.toml": 'made_by = "prefix"\n',
            "out/venv.toml": 'made_by = "venv"\n',
            "out/uv.toml": 'made_by = "uv"\nversion = "0.1.0"\n',
        },
    ),
    Scenario(
        "src-layout",
        order=("harvest",),
        says={"harvest": "harvested apple, plum"},
        files={"data/fruit.json": '{"ripe": ["apple", "plum"], "click": "8.1.8"}'},
    ),
    Scenario(
        "images-only",
        order=("prepare", "convert", "check"),
        says={"prepare": "4 /exchange/in/rates.csv", "check": "checked chf, eur, usd"},
        files={"volume:images-only_exchange/rates.json": '{"eur": 1.0, "usd": 1.1, "chf": 0.95}'},
        refused={"portable": ("services.prepare.image", "busybox", "python:3.12-slim", "gigogne doctor")},
    ),
    Scenario(
        "awkward-names",
        order=("test.job-1", "test_job.2"),
        says={"test_job.2": "lu : l'été à Orléans"},
        files={"sortie finale/résumé.txt": "l'été à Orléans"},
    ),
    Scenario(
        "volumes",
        order=("producer seeded", "reader", "archiver"),
        says={"seeded": "depth 3", "archiver": "no defaults"},
        files={
            "volume:volumes_archive/archive.txt": "monday.txt",
            "volume:volumes_shared/daily/monday.txt": "12",
            "volume:volumes_config/defaults.ini": "[model]\ndepth = 3\n",
        },
    ),
    Scenario(
        "shell-chain",
        order=("etl",),
        files={"output/totals.json": '{"north": 8, "south": 4}', "output/_SUCCESS": "done\n"},
    ),
    Scenario(
        "dev-container",
        order=("dev", "lint", "stats"),
        files={"stats.json": '{"lines": 2, "words": 4}'},
    ),
]


@posix
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_a_project_runs_unchanged(scenario: Scenario, workspace: Workspace, way: str) -> None:
    """The owner's command line does what it does with Docker; where a way cannot, it says so before anything starts."""
    settle(workspace, scenario.project)
    if way in scenario.refused:
        said = refusal(workspace.run(*scenario.command, **scenario.environment))
        assert all(words in said for words in scenario.refused[way]), said
        return
    play(scenario, workspace)


@pytest.mark.parametrize("project", ["modules", "one-image", "fragments"])
@pytest.mark.usefixtures("way")
def test_a_checkout_of_windows_runs(project: str, workspace: Workspace) -> None:
    """CRLF in every file (Compose file, Dockerfile, requirements, code, data) and a BOM in .env change nothing."""
    settle(workspace, project, windows=True)
    play(next(scenario for scenario in SCENARIOS if scenario.project == project), workspace)


def test_a_folder_with_spaces_and_accents(workspace: Workspace, way: str) -> None:
    """The name of the folder is the owner's: the project gets what Compose makes of it, and the paths hold."""
    settle(workspace, "awkward-names", "Proj été 2")
    result = workspace.run("run")
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"projt2 on process ({way}): test.job-1, test_job.2" in result.stdout
    written = workspace.folder / "sortie finale" / "résumé.txt"
    assert written.read_text(encoding="utf-8") == "l'été à Orléans"


def test_a_secret_arrives_as_a_file_and_stays_one(workspace: Workspace, way: str) -> None:
    """Secret and config are where Compose puts them, `user:` is obeyed, and the secret is in nothing that is left."""
    settle(workspace, "secrets")
    result = workspace.run("run")
    assert result.returncode == 0, result.stdout + result.stderr
    secret = (workspace.folder / "secrets" / "api_key.txt").read_text().strip()
    expected = [hmac.new(secret.encode(), text, hashlib.sha256).hexdigest() for text in (b"a", b"b")]
    assert (workspace.folder / "state" / "signatures.txt").read_text().split() == expected
    if way == "sandbox":
        assert "| signed 2 as 1000 " in result.stdout
    checked = workspace.run("check").stdout
    for key in ("read_only", "cap_drop", "security_opt"):
        assert f"services.signer.{key}: not the same without Docker" in checked
    kept = [path.read_bytes() for path in Path(workspace.environment["GIGOGNE_DATA_DIR"]).rglob("*") if path.is_file()]
    assert kept and not any(secret.encode() in content for content in kept)
    assert secret not in result.stdout + result.stderr + checked


def test_a_read_only_volume_is_read_only(workspace: Workspace, way: str) -> None:
    """`:ro` holds in the sandbox; the portable way cannot hold it, and `check` says so."""
    settle(workspace, "volumes")
    result = workspace.run("run")
    assert result.returncode == 0, result.stdout + result.stderr
    if way == "sandbox":
        assert "reader   | read only" in result.stdout
        assert not (workspace.volume("volumes_shared") / "no.txt").exists()
    else:
        assert "read-only mounts can be written to" in workspace.run("check").stdout


def test_paths_that_the_code_spells_out(workspace: Workspace, way: str) -> None:
    """In the sandbox they are true. Elsewhere no rewriting reaches them, and that is said before anything runs."""
    settle(workspace, "hard-coded")
    if way == "sandbox":
        result = workspace.run("run")
        assert result.returncode == 0 and "read  | read 3" in result.stdout, result.stdout + result.stderr
        assert (workspace.folder / "state" / "daily" / "count.txt").read_text() == "3"
        return
    said = workspace.run("check").stdout
    assert "paths and names that the code itself spells out are not" in said


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.usefixtures("way")
def test_make_drives_compose(workspace: Workspace) -> None:
    """A Makefile that names its Compose program in a variable works with ours, its exported variables included."""
    settle(workspace, "makefile")
    environment = {**os.environ, **workspace.environment}
    command = ["make", "report", f"COMPOSE={sys.executable} -m gigogne"]
    made = subprocess.run(command, cwd=workspace.folder, env=environment, capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stdout + made.stderr
    assert made.stdout.endswith('{"total": 6, "version": "7"}')
    again = subprocess.run(command, cwd=workspace.folder, env=environment, capture_output=True, text=True, timeout=120)
    assert "run report" not in again.stdout and again.stdout == '{"total": 6, "version": "7"}'


@pytest.mark.usefixtures("way")
def test_wheels_of_an_earlier_stage_are_refused(workspace: Workspace) -> None:
    """`pip wheel` has no meaning without Docker: line, command and the way out are named."""
    settle(workspace, "multi-stage")
    said = refusal(workspace.run("run", "wheels"))
    assert "wheels/Dockerfile:4: RUN pip wheel" in said
    assert "pip install into a virtual environment in this stage, and COPY --from it" in said


@pytest.mark.usefixtures("way")
def test_what_only_docker_has_is_refused_by_name(workspace: Workspace) -> None:
    """Privileges, the host's network, devices, foreign servers: all at once, each with its key and a cure."""
    settle(workspace, "needs-docker")
    said = refusal(workspace.run("run"))
    for key, cure in {
        "monitor.privileged": "privileges need Docker",
        "monitor.network_mode": "each service is on this machine's network",
        "monitor.pid": "name spaces are shared in Docker only",
        "worker.devices": "devices need Docker",
        "cache.image": "the image redis:7-alpine can only run in Docker",
    }.items():
        assert f"services.{key}: " in said and cure in said
    checked = workspace.run("check")
    assert checked.returncode == 1
    assert "services.trainer.deploy: not the same without Docker" in checked.stdout
    assert "services.trainer.deploy.resources.reservations.devices: reserves a GPU" in checked.stdout
    assert "services.launcher.volumes: the Docker socket: what runs in launcher rules Docker" in checked.stdout


MISTAKES = [
    (
        "modules",
        "docker-compose.yml",
        "depends_on",
        "depend_on",
        2,
        "docker-compose.yml:14: services.transform.depend_on: ",
        "did you mean `depends_on`?",
    ),
    (
        "modules",
        "docker-compose.yml",
        "      extract:",
        "      extrat:",
        2,
        'service "transform" depends on undefined service "extrat"',
        "did you mean extract?",
    ),
    (
        "modules",
        "docker-compose.yml",
        "build: ./extract",
        "build: ./extrat",
        2,
        "extrat/Dockerfile: there is no such Dockerfile",
        "correct services.extract.build",
    ),
    (
        "modules",
        "docker-compose.yml",
        "./data:",
        "./date:",
        3,
        "services.extract.volumes: ",
        "date does not exist, and would be empty at /data",
    ),
    (
        "modules",
        "transform/Dockerfile",
        "requirements.txt .",
        "requirement.txt .",
        2,
        "transform/Dockerfile:5: requirement.txt is not in the build context",
        "correct the path",
    ),
    (
        "modules",
        "load/requirements.txt",
        "1.1.0",
        "999.1",
        4,
        "load/Dockerfile:6: ",
        "there is no version of tomli-w==999.1",
    ),
    ("modules", "load/Dockerfile", "RUN", "RNU", 2, "load/Dockerfile:6: unknown instruction: RNU", "correct this line"),
    ("modules", "transform/main.py", "MIN_AMOUNT", "MIN_AMUONT", 1, "transform  failed (1)", "KeyError: 'MIN_AMUONT'"),
    (
        "fragments",
        "docker-compose.yml",
        "*job\n",
        "*jbo\n",
        2,
        "docker-compose.yml:25: not valid YAML",
        "unknown anchor 'jbo'",
    ),
    (
        "one-image",
        "docker-compose.yml",
        "- warehouse:",
        "- warehous:",
        2,
        "refers to undefined volume warehous",
        "did you mean warehouse?",
    ),
]


@pytest.mark.parametrize(("project", "file", "right", "wrong", "code", "what", "cure"), MISTAKES)
def test_a_slip_of_the_pen_is_named(
    workspace: Workspace, project: str, file: str, right: str, wrong: str, code: int, what: str, cure: str
) -> None:
    """One wrong word in a project that works: the message says where, what, and what to do."""
    settle(workspace, project)
    path = workspace.folder / file
    text = path.read_text(encoding="utf-8")
    assert right in text
    path.write_text(text.replace(right, wrong, 1), encoding="utf-8")
    result = workspace.run("run")
    said = result.stdout + " ".join(result.stderr.split())
    assert result.returncode == code and what in said and cure in said, said


@pytest.mark.usefixtures("way")
def test_a_command_that_installs_is_refused(workspace: Workspace) -> None:
    """`pip install` at the start of a stock image would change this machine; in an own environment it may."""
    settle(workspace, "runtime-install")
    checked = workspace.run("check")
    assert checked.returncode == 1
    assert (
        "services.job.command: `pip install` when the service starts would install into this machine" in checked.stdout
    )
    assert "give the service build:" in checked.stdout and "services.tool.command" not in checked.stdout


def test_a_secret_that_is_not_there(workspace: Workspace) -> None:
    """The key is that of the secret, and the cure makes no directory of its name."""
    settle(workspace, "secrets")
    (workspace.folder / "secrets" / "api_key.txt").unlink()
    said = refusal(workspace.run("run"))
    assert "services.signer.secrets: " in said and "api_key.txt does not exist" in said
    assert "make the file" in said and "mkdir" not in said
