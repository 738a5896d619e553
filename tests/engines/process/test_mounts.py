"""Mounts, secrets and configs: what is missing is told before the start, what needs no file gets none."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from gigogne.compose.model import project_of
from gigogne.core.engine import Detached, Run
from gigogne.core.model import Problem, Project

from .conftest import Bench

EXTERNAL = "volumes: {own: , store: {external: true, name: somebodys}}\n"
VALUE = "s3cr3t-$value é\nand more"


def fatal(bench: Bench, project: Project) -> list[Problem]:
    """What keeps the project from running."""
    return [problem for problem in bench.engine.check(project, list(project.services)) if problem.fatal]


def with_secret(bench: Bench, code: str, more: str = "") -> Project:
    """A service that runs the code, and has a secret of a variable that is set."""
    compose = f"services:\n  a:\n    build: .\n    command: [python, code.py]\n    secrets: [token]\n{more}"
    loaded = bench.load(f"{compose}secrets: {{token: {{environment: TOKEN}}}}\n", {"code.py": code})
    return project_of(loaded.raw, directory=loaded.directory, files=loaded.files, variables={"TOKEN": VALUE})


def test_external_volumes(bench: Bench) -> None:
    """One that is not there is an error of the files; one that is there outlives `down -v`, unlike an own one."""
    mounts = "volumes: ['store:/data/store', 'own:/data/own']"
    project = bench.load(f"services: {{a: {{build: ., command: python -c 1, {mounts}}}}}\n{EXTERNAL}")
    [problem] = fatal(bench, project)
    volume = bench.engine.paths.volume("somebodys")
    assert problem.wrong and f"mkdir -p {volume}" in problem.hint
    volume.mkdir(parents=True)
    assert fatal(bench, project) == []
    bench.lines(bench.start(project))
    assert bench.engine.paths.volume("bench_own").is_dir()
    bench.engine.remove(project, volumes=True)
    assert volume.is_dir() and not bench.engine.paths.volume("bench_own").exists()


def test_a_secret_of_a_variable_is_in_no_file(sandbox: Bench) -> None:
    """The service finds it in its place; on the disk and on the command lines of this machine it is nowhere."""
    code = "import time\nprint(len(open('/run/secrets/token').read()), flush=True)\ntime.sleep(60)"
    project = with_secret(sandbox, code)
    assert fatal(sandbox, project) == []
    handle = sandbox.start(project)
    assert next(iter(sandbox.engine.logs(handle, follow=True))).text == str(len(VALUE))
    for process in Path("/proc").glob("[0-9]*"):
        try:
            assert b"s3cr3t-$value" not in (process / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
    for path in sandbox.engine.paths.data.rglob("*"):
        if stat.S_ISREG(path.lstat().st_mode):
            assert b"s3cr3t-$value" not in path.read_bytes()
    sandbox.engine.stop(handle, grace=0)


def test_a_text_becomes_a_file(sandbox: Bench) -> None:
    """A config's text with its dollars, at its target inside a mount too; nobody can write it."""
    compose = (
        "    user: '1000'\n    volumes: ['./settings:/settings:ro']\n"
        "    configs: [{source: text, target: /settings/text}, text]\n"
        'configs: {text: {content: "price 5$$ é\\n"}}\n'
    )
    (sandbox.folder / "settings").mkdir()
    (sandbox.folder / "settings" / "text").write_text("hidden")
    code = (
        "import os\nfor path in ('/settings/text', '/text'):\n"
        "    print(ascii(open(path).read()), oct(os.stat(path).st_mode), os.access(path, os.W_OK))\n"
    )
    held = ascii("price 5$ é\n")
    assert sandbox.python(code, compose).splitlines() == [f"{held} 0o100444 False"] * 2
    assert (sandbox.folder / "settings" / "text").read_text() == "hidden"


def test_without_a_sandbox_it_would_be_a_file(bench: Bench) -> None:
    """The portable way has only the disk, and so refuses; `gigogne check` says so at the key that asks for it."""
    found = fatal(bench, with_secret(bench, ""))
    if bench.engine.bubblewrap is not None:
        assert found == []
    else:
        assert [problem.where for problem in found] == ["services.a.secrets"]
        assert "would be a file" in found[0].message and "file:" in found[0].hint


def test_a_variable_that_is_not_set(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in Compose the files are wrong then: the secret or config and its variable are named."""
    monkeypatch.delenv("TOKEN", raising=False)
    keys = "secrets: [token], configs: [settings]"
    top = "secrets: {token: {environment: TOKEN}}\nconfigs: {settings: {environment: TOKEN}}\n"
    found = fatal(bench, bench.load(f"services: {{a: {{build: ., command: x, {keys}}}}}\n{top}"))
    assert {problem.where for problem in found} == {"services.a.secrets", "services.a.configs"}
    assert all(problem.wrong and "set TOKEN" in problem.hint for problem in found)


def test_mounts_for_docker_alone(bench: Bench) -> None:
    """What a label keeps for Docker is left out and told, though it is there; another one that is missing is wrong."""
    here = bench.folder / "docker.sock"
    here.touch()
    more = "group_add: ['0'], labels: {gigogne.docker-only: '/own/docker.sock, /run/other.sock'}"
    mounts = f"volumes: ['{here}:/own/docker.sock', '{here}:/own/kept.sock']"
    variables = "environment: {LEFT: /own/docker.sock, KEPT: /own/kept.sock}"
    code = "import os; print(*(os.path.exists(os.environ[name]) for name in ('LEFT', 'KEPT')))"
    compose = f"services: {{a: {{build: ., command: [python, code.py], {more}, {mounts}, {variables}}}}}\n"
    project = bench.load(compose, {"code.py": code})
    assert fatal(bench, project) == []
    told = [problem.message for problem in bench.engine.check(project, ["a"]) if problem.where.endswith("volumes")]
    assert told == ["/own/docker.sock is for Docker alone (label gigogne.docker-only), and is not mounted"]
    said = [line.text for line in bench.lines(bench.start(project))]
    assert said == ["False True"]
    here.unlink()
    assert [problem.where for problem in fatal(bench, project)] == ["services.a.volumes"]


def test_a_secret_of_a_variable_in_a_detached_run(sandbox: Bench) -> None:
    """It reaches the service through the process that keeps it, and no file."""
    project = with_secret(
        sandbox, "import time\nprint(len(open('/run/secrets/token').read()), flush=True)\ntime.sleep(60)"
    )
    run = Run("airflow-1", project, ("a",), Detached())
    sandbox.engine.prepare(project.services["a"], run)
    handle = sandbox.engine.start(project.services["a"], run)
    assert next(iter(sandbox.engine.logs(handle, follow=True))).text == str(len(VALUE))
    for path in sandbox.engine.paths.data.rglob("*"):
        if stat.S_ISREG(path.lstat().st_mode):
            assert b"s3cr3t-$value" not in path.read_bytes()
    sandbox.engine.stop(handle, grace=0)
