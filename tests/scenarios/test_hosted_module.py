"""The worked example, `hosted_module/`: a module as many teams have it, run as it stands, and what `check` says of it.

Its results, its exit codes and its variables are the same on every engine and at every depth.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from tests.conftest import REPOSITORY, Workspace

HOSTED_MODULE = Path(__file__).parent / "hosted_module"
SIMPLIFIED = ("-f", "simplified/docker-compose.yml")
KEY = "a-key-that-appears-nowhere-else"
SAID = "extracted 2 confirmed transactions of 100 or more"
NO_KEY = 4
FULL = os.environ.get("CI_LEVEL") == "full"


@pytest.fixture
def module(workspace: Workspace) -> Workspace:
    """A copy of the module's folder, whose name is the project's."""
    workspace.folder = workspace.folder.parent / "hosted_module"
    shutil.copytree(HOSTED_MODULE, workspace.folder, ignore=shutil.ignore_patterns("validated.csv"))
    return workspace


@pytest.fixture
def on_docker(module: Workspace, docker_engine: docker.DockerClient) -> Iterator[Workspace]:
    """The module on the Docker engine, as a project of its own, of which nothing stays."""
    project = f"hosted-{secrets.token_hex(4)}"
    module.environment |= {"GIGOGNE_ENGINE": "docker", "COMPOSE_PROJECT_NAME": project}
    try:
        yield module
    finally:
        module.run("down", "-v")
        label = f"com.docker.compose.project={project}"
        kept = [c.name for c in docker_engine.containers.list(all=True, filters={"label": label})]
        volumes = [v.name for v in docker_engine.volumes.list(filters={"label": label})]
        for image in docker_engine.images.list(filters={"label": label}):
            image.remove(force=True)
        assert kept == volumes == [], "down -v leaves nothing"


def extracted(workspace: Workspace, folder: str = "data") -> None:
    """The file that the module writes holds what was confirmed, under pseudonyms that only this key makes."""
    file = workspace.folder / folder / "validated.csv"
    cards = {"4970-1011-0001": "250.0", "4970-1011-0004": "310.25"}
    rows = [f"{hmac.new(KEY.encode(), card.encode(), hashlib.sha256).hexdigest()[:12]},{cards[card]}" for card in cards]
    assert file.read_text(encoding="utf-8").splitlines() == ["card,amount", *rows]
    file.unlink()


def run_lets_the_key_through(workspace: Workspace, *arguments: str) -> None:
    """With the key in the shell the module does its work; without it, its own exit code arrives."""
    done = workspace.run(*arguments, EXTRACT_KEY=KEY)
    assert done.returncode == 0 and SAID in done.stdout, done.stdout + done.stderr
    assert KEY not in done.stdout + done.stderr
    extracted(workspace)
    refused = workspace.run(*arguments)
    assert refused.returncode == NO_KEY and "EXTRACT_KEY is not set" in refused.stdout, refused.stdout + refused.stderr
    assert not (workspace.folder / "data" / "validated.csv").exists()


@pytest.mark.sandbox
def test_it_runs_as_it_stands(module: Workspace) -> None:
    """No Docker: the volume has the image's code, the keep-alive is started and stopped, nothing of it stays."""
    run_lets_the_key_through(module, "run", "extractor_sql")
    assert module.run("ps").stdout.strip().endswith("nothing runs (gigogne ps -a: what ran last)")


def test_the_simplified_file_runs_too(module: Workspace, way: str) -> None:
    """Without keep-alive and volume there is nothing that needs a sandbox."""
    run_lets_the_key_through(module, *SIMPLIFIED, "run", "extractor_sql")


@pytest.mark.sandbox
def test_check_names_what_is_fragile(module: Workspace) -> None:
    """The keep-alive that never ends, the volume that hides newer code, the image without a version: with the cure."""

    def notices(*files: str) -> dict[str, tuple[str, str, int]]:
        checked = module.run(*files, "check", "--json")
        assert checked.returncode == 0, "fragile is not wrong"
        said = [json.loads(line) for line in checked.stdout.splitlines()]
        return {one["where"]: (one["message"], one["hint"], one["line"]) for one in said if one["hint"]}

    found = notices()
    assert set(found) == {
        "services.app_volume.command",
        "services.app_volume.image",
        "services.extractor_sql.volumes",
    }
    message, hint, line = found["services.app_volume.command"]
    assert "app_code, which extractor_sql mounts too" in message and hint.startswith("remove app_volume") and line == 6
    message, hint, line = found["services.extractor_sql.volumes"]
    assert "the old code still runs" in message and "./app:/home/app:ro" in hint and line == 19
    assert notices(*SIMPLIFIED) == {}, "the file that follows the advice gives no cause for any"


@pytest.mark.sandbox
def test_the_old_code_runs_until_the_advice_is_followed(module: Workspace) -> None:
    """The fragility itself: with the volume a change does not arrive, and the run says so; with the folder it does."""
    assert SAID in module.run("run", "extractor_sql", EXTRACT_KEY=KEY).stdout
    code = module.folder / "app" / "extractor_sql.py"
    code.write_text(code.read_text(encoding="utf-8").replace("extracted {len", "took {len"), encoding="utf-8")
    old = module.run("run", "extractor_sql", EXTRACT_KEY=KEY).stdout
    assert SAID in old and "took 2" not in old and "hides files of the image at /home/app: extractor_sql.py" in old
    assert "took 2 confirmed" in module.run(*SIMPLIFIED, "run", "extractor_sql", EXTRACT_KEY=KEY).stdout


@pytest.mark.docker
def test_it_runs_on_docker(on_docker: Workspace) -> None:
    """The same command, the same files and codes."""
    run_lets_the_key_through(on_docker, "run", "extractor_sql")
    if FULL:
        run_lets_the_key_through(on_docker, *SIMPLIFIED, "run", "extractor_sql")


@pytest.mark.docker
def test_it_runs_two_containers_deep(on_docker: Workspace) -> None:
    """A host container that is started in a host container: the folder is still the first one's."""
    deep = ("nest", "--", "gigogne", "nest", "--", "gigogne", "run", "extractor_sql")
    if FULL:
        run_lets_the_key_through(on_docker, *deep)
        run_lets_the_key_through(on_docker, *SIMPLIFIED, *deep)
        run_lets_the_key_through(on_docker, *SIMPLIFIED, "nest", "--", "gigogne", "run", "extractor_sql")
    done = on_docker.run(*deep, EXTRACT_KEY=KEY)
    assert done.returncode == 0 and SAID in done.stdout, done.stdout + done.stderr
    extracted(on_docker)


@pytest.mark.docker
def test_what_is_lost_without_gigogne_arrives_with_it(on_docker: Workspace) -> None:
    """The naive command in a container: an empty directory, exit code 0, and a stray directory of root's on the host.

    Beside it, in the same container and on the same folder, the module's results, and its own exit code.
    """
    folder = f"data-{secrets.token_hex(4)}"  # whoever else tests this on the same machine has another one
    (on_docker.folder / "data").rename(on_docker.folder / folder)
    file = on_docker.folder / "docker-compose.yml"
    file.write_text(file.read_text(encoding="utf-8").replace("./data:", f"./{folder}:"), encoding="utf-8")
    inside = f"/home/hosted/{folder}"
    script = f"""
        ls {inside} && docker run --rm -v {inside}:/home/data busybox:1.36 find /home/data && echo naive: $?
        gigogne run extractor_sql
        env -u EXTRACT_KEY gigogne run extractor_sql
    """
    stray = Path(inside)
    strays = [place for place in (stray, stray.parent) if not place.exists()]
    try:
        done = on_docker.run("nest", "--", "sh", "-c", script, EXTRACT_KEY=KEY)
        assert done.returncode == NO_KEY, done.stdout + done.stderr
        assert done.stdout.startswith("transactions.sql\n/home/data\nnaive: 0\n"), "no file arrives, and no error"
        if sys.platform == "linux":  # elsewhere it is in the virtual machine of Docker Desktop
            assert stray.is_dir() and stray.stat().st_uid == 0 and list(stray.iterdir()) == []
        assert SAID in done.stdout and "EXTRACT_KEY is not set" in done.stdout
        extracted(on_docker, folder)
    finally:
        for left in strays:
            with contextlib.suppress(OSError):
                left.rmdir()


@pytest.mark.docker
def test_explain_names_each_layer(on_docker: Workspace) -> None:
    """From the host's folder to the module's, from the shell outside to the service; and the layer of what is lost."""
    file = on_docker.folder / "docker-compose.yml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("- EXTRACT_KEY", "- EXTRACT_KEY\n      - OTHER_KEY"), encoding="utf-8")
    done = on_docker.run("nest", "--", "gigogne", "explain", "extractor_sql", "--json", EXTRACT_KEY=KEY)
    assert done.returncode == 0 and KEY not in done.stdout, done.stderr
    facts = json.loads(done.stdout)
    variables = {variable["name"]: variable for variable in facts["variables"]}
    [feed] = variables["EXTRACT_KEY"]["settings"][0]["feeds"]
    assert feed["from"] == "the host container"
    [setting] = variables["MINIMUM_AMOUNT"]["settings"]
    assert (setting["kind"], setting["file"], setting["line"]) == ("env_file", "/home/hosted/app/.env", 3)
    [lost] = facts["lost"]
    assert lost["name"] == "OTHER_KEY" and "`gigogne nest` was typed" in lost["reason"]
    mounts = {mount["target"]: mount for mount in facts["mounts"]}
    data = mounts["/home/data"]
    assert (data["outside"], data["source"]) == ([str(on_docker.folder / "data")], "/home/hosted/data")
    assert data["content"] == "1 entry" and mounts["/home/app"]["outside"] == []


def test_the_tutorial_shows_these_files() -> None:
    """What people copy from `docs/tutorials/hosted-module.md` is what is tested here, to the letter."""
    text = (REPOSITORY / "docs" / "tutorials" / "hosted-module.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"^`(\S+)`\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    files = [file for file in HOSTED_MODULE.rglob("*") if file.is_file() and file.name != "validated.csv"]
    there = {file.relative_to(HOSTED_MODULE).as_posix(): file.read_text(encoding="utf-8") for file in files}
    assert shown == {name: content for name, content in there.items() if name != ".gitignore"}
