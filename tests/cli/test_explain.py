"""`explain` as people and programs read it: everything is there, nothing secret is, and nothing is cut off."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from gigogne.cli.explain import render, to_dict
from gigogne.compose import LoadOptions, load_project
from gigogne.compose.explanation import Explanation
from gigogne.compose.provenance import explanation

PROJECT = """\
name: demo
services:
  s:
    build: .
    env_file: [one.env]
    environment:
      DB_PASSWORD: ${DB_PASSWORD:-default-hunter2}
      LOGGER_SQL_URI: postgresql://me:literal-hunter2@db:5432/mlops
      API_TOKEN:
      MODE: literal
      PADDED: "shown "
    volumes: ["./empty:/data:ro", "kept:/kept"]
    secrets: [key]
    configs: [text]
secrets: {key: {environment: KEY}}
configs: {text: {content: "inline-hunter2"}}
volumes: {kept: }
"""
SECRETS = ("hunter2", "q9Rk3LmV7tYw2PzB5nXc8DfH")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Explanation]:
    """An explanation in which secrets come from every place that there is."""
    for name in ("COMPOSE_FILE", "API_TOKEN", "KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DB_PASSWORD", "shell-hunter2")
    monkeypatch.setenv("MODE", "shell")
    monkeypatch.setenv("OTHER_PASSWORD", "shell-hunter2")
    Path("docker-compose.yml").write_text(PROJECT, encoding="utf-8")
    Path(".env").write_text("DB_PASSWORD=dotenv-hunter2\nKEY=dotenv-hunter2\nIDLE_SECRET=dotenv-hunter2\n", "utf-8")
    Path("one.env").write_text(
        f"OTHER_PASSWORD=file-hunter2\nDB_PASSWORD=file-hunter2\nPLAIN={SECRETS[1]}\n",
        encoding="utf-8",
    )
    Path("Dockerfile").write_text("FROM x\nARG BUILD_TOKEN=arg-hunter2\nENV API_TOKEN=image-hunter2\n", "utf-8")
    Path("empty").mkdir()
    project = load_project(LoadOptions())
    yield explanation(LoadOptions(), project, "s", lambda mount: Path("/var/kept") if mount.source == "kept" else None)


def shown(made: Explanation, width: int) -> str:
    """What is printed at a width."""
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(render(made))
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 80, 500])
def test_no_secret_is_shown(made: Explanation, width: int) -> None:
    """Not one value of shell, `.env`, env_file, Compose file, Dockerfile or config, at any width."""
    text = "".join(shown(made, width).split())
    values = [setting.value for variable in made.variables for setting in variable.settings]
    assert sum("hunter2" in (value or "") for value in values) >= 5, "the secrets are in the data"
    assert not [secret for secret in SECRETS if secret in text]


def test_no_secret_is_in_the_json(made: Explanation) -> None:
    """Programs get masked values too, in plain types."""
    text = json.dumps(to_dict(made))
    assert not [secret for secret in SECRETS if secret in text]
    assert "***" in text and "postgresql://me:***@db:5432/mlops" in text


def test_a_pipe_gets_whole_lines(made: Explanation) -> None:
    """At the width of a pipe each variable is one line, with its origin, and paths are relative to the project."""
    lines = shown(made, 500).splitlines()
    row = next(line for line in lines if line.startswith("DB_PASSWORD"))
    assert row.split(maxsplit=4)[1:4] == ["***", "(13", "characters)"]
    assert row.rstrip().endswith("docker-compose.yml:7, ${DB_PASSWORD} from the shell (hides .env:1)")
    assert any(line.strip() == "overrides env_file one.env:2" for line in lines)
    assert str(Path.cwd()) + "/one.env" not in "".join(lines)


def test_the_sections_say_what_was_lost(made: Explanation) -> None:
    """The variable that is not set, the one nobody reads, the literal that wins, the build argument."""
    text = " ".join(shown(made, 500).split())
    assert "API_TOKEN not set docker-compose.yml:9, passed through, not set in the shell, nor in an env file" in text
    assert "overrides image ENV Dockerfile:3" in text
    assert "IDLE_SECRET .env:3 no key of this service refers to it" in text
    assert "MODE the shell docker-compose.yml:10 sets it and does not read the shell's" in text
    assert "BUILD_TOKEN Dockerfile:2 a build argument" in text
    assert "careful: it begins or ends with white space" in text


def test_the_mounts_show_their_chain(made: Explanation) -> None:
    """What is written, where it lies, what is in it: an empty directory is called by its name."""
    text = " ".join(shown(made, 500).split())
    assert "/data bind, read-only docker-compose.yml:12 ./empty:/data:ro" in text
    assert "empty directory: the service sees no files at /data" in text
    assert "/kept volume docker-compose.yml:12 kept:/kept" in text and "→ demo_kept" in text and "→ /var/kept" in text
    assert "environment: KEY" in text and "inline text" in text


def test_the_layers_of_a_host_container(made: Explanation, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell outside before the host container; the daemon's host before this container before the module."""
    monkeypatch.setenv("GIGOGNE_NEST", "outside")
    monkeypatch.setenv("GIGOGNE_NEST_PASSED", "DB_PASSWORD")
    project = load_project(LoadOptions())
    nested = explanation(LoadOptions(), project, "s", lambda _: None, lambda _: (r"C:\work\empty",))
    text = " ".join(shown(nested, 500).split())
    assert "${DB_PASSWORD} from the shell outside → the host container (hides .env:1)" in text
    assert "API_TOKEN docker-compose.yml:9 it is passed through, and the host container has it not" in text
    assert rf"→ C:\work\empty → {Path.cwd()}/empty → /data" in text
    facts = next(mount for mount in to_dict(nested)["mounts"] if mount["target"] == "/data")
    assert (facts["outside"], facts["source"]) == ([r"C:\work\empty"], str(Path.cwd() / "empty"))


def test_the_json_has_places_as_file_and_line(made: Explanation) -> None:
    """A program finds the line without parsing words."""
    facts = to_dict(made)
    variable = next(variable for variable in facts["variables"] if variable["name"] == "DB_PASSWORD")
    winner, loser = variable["settings"]
    assert (winner["kind"], winner["form"], Path(winner["file"]).name, winner["line"]) == (
        "environment",
        "interpolated",
        "docker-compose.yml",
        7,
    )
    assert winner["feeds"][0]["from"] == "the shell" and winner["feeds"][0]["hides"][0]["line"] == 1
    assert (loser["kind"], Path(loser["file"]).name, loser["line"]) == ("env_file", "one.env", 2)
    mount = next(mount for mount in facts["mounts"] if mount["target"] == "/kept")
    assert mount["place"] == str(Path("/var/kept")) and mount["line"] == 12
