"""Explaining in a host container: what came in from the shell outside, what was lost there, and the paths outside."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.compose.answers import explain, service

from gigogne.compose import LoadOptions, load_project
from gigogne.compose.explanation import FeedKind
from gigogne.compose.provenance import explanation
from gigogne.errors import ComposeError

BODY = """\
    env_file: one.env
    environment:
      TOKEN: ${TOKEN}
      URI:
      LOST:
      EMPTY: ${EMPTY}
      MODE: ${MODE:-quick}
      TYPED: ${TYPED}
    labels:
      owner: ${OWNER}
"""
FILES = {**service(BODY), "one.env": "ALONE\n", ".env": "OWNED=1\n"}


@pytest.fixture(autouse=True)
def shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell in a host container to which TOKEN and URI came; TYPED was set in it."""
    for name in ("LOST", "EMPTY", "MODE", "OWNER", "ALONE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIGOGNE_NEST", "outside")
    monkeypatch.setenv("GIGOGNE_NEST_PASSED", "TOKEN,URI")
    for name in ("TOKEN", "URI", "TYPED"):
        monkeypatch.setenv(name, "hunter2")


def test_a_variable_from_the_shell_outside() -> None:
    """What `gigogne nest` passed has its own layer; what was set in the container's own shell has not."""
    made = explain(FILES)
    assert made.feeds("TOKEN") == ["TOKEN the host container"] and made.feeds("URI") == ["URI the host container"]
    assert made.feeds("TYPED") == ["TYPED the shell"] and made.lost("TOKEN") == made.lost("TYPED") == []


def test_a_variable_that_was_lost_at_the_host_container() -> None:
    """Passed through, named in `${…}`, alone in an env file: the layer is named. A default loses nothing."""
    made = explain(FILES)
    for name in ("LOST", "EMPTY", "OWNER", "ALONE"):
        [lost] = made.lost(name)
        assert "host container has it not" in lost.reason and f"set {name} there" in lost.fix, name
    assert made.lost("EMPTY")[0].place == made.lost("OWNER")[0].place == str(FeedKind.HOST_CONTAINER)
    assert made.short(made.lost("LOST")[0].where) == "docker-compose.yml:8" and made.lost("MODE") == []


def test_a_variable_that_has_to_be_set() -> None:
    """`${X:?message}` refuses before anything is explained: the error itself names the layer."""
    Path("docker-compose.yml").write_text("services: {s: {image: x, user: '${LOST:?who?}'}}\n", encoding="utf-8")
    with pytest.raises(ComposeError) as error:
        load_project(LoadOptions())
    assert "who?; the host container has it not" in error.value.message and "set LOST there" in error.value.hint


def test_a_variable_that_was_unset_in_the_host_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """It had come in: the shell outside is not blamed."""
    monkeypatch.delenv("URI")
    [lost] = explain(FILES).lost("URI")
    assert "was unset there" in lost.reason and lost.fix == "set it again in this shell"


def test_a_host_container_that_says_nothing_of_its_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Started by plain `docker run`: the cure is -e, and nothing is claimed of what is set."""
    monkeypatch.delenv("GIGOGNE_NEST_PASSED")
    made = explain(FILES)
    assert made.feeds("TOKEN") == ["TOKEN the shell"] and "-e LOST" in made.lost("LOST")[0].fix


def test_outside_of_a_host_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no such layer."""
    monkeypatch.delenv("GIGOGNE_NEST")
    made = explain(FILES)
    assert made.feeds("TOKEN") == ["TOKEN the shell"] and made.lost("EMPTY") == []
    assert "neither the shell nor an env file" in made.lost("LOST")[0].reason


def test_the_paths_of_a_mount_outside(here: Path) -> None:
    """Who knows them gives them: of a folder, not of a volume, which is the daemon's own."""
    files = service("volumes: ['./app:/home/app', 'kept:/kept']\n")
    files["docker-compose.yml"] += "volumes: {kept: }\n"
    explain({**files, "app/main.py": ""})
    project = load_project(LoadOptions())
    outside = {str(here / "app"): (r"C:\work\hosted\app",)}
    made = explanation(LoadOptions(), project, "s", lambda _: None, outside.__getitem__)
    assert {mount.target: mount.outside for mount in made.mounts} == {
        "/home/app": (r"C:\work\hosted\app",),
        "/kept": (),
    }
