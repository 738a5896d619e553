"""The smallest component: what it does, and that a copy of it under another name is a component."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import REPOSITORY, Workspace


@pytest.fixture
def project(workspace: Workspace, tmp_path: Path) -> Iterator[Workspace]:
    """A folder that has nothing but the four things that the component's README names, under a name of its own."""
    for folder in ("src", "docker"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / folder / "example", workspace.folder / folder / "example", ignore=ignored)
    for name in ("docker-compose-example.yml", "pyproject.toml", ".dockerignore"):
        shutil.copy(REPOSITORY / name, workspace.folder / name)
    workspace.environment |= {"COMPOSE_PROJECT_NAME": f"example-{tmp_path.name.replace('_', '-')[:40]}"}
    yield workspace
    for file in workspace.folder.glob("docker-compose-*.yml"):
        workspace.run("-f", file.name, "down", "-v")


def words(project: Workspace, name: str) -> dict[str, int]:
    """What the component left in its volume."""
    volume = project.volume(f"{project.environment['COMPOSE_PROJECT_NAME']}_{name}")
    counts: dict[str, int] = json.loads((volume / "words.json").read_text(encoding="utf-8"))
    assert [each.name for each in volume.iterdir()] == ["words.json"]
    return counts


@pytest.mark.usefixtures("way")
def test_a_text_in_and_its_words_out(project: Workspace) -> None:
    """The setting arrives, the file is in the volume, and a text without words is refused: the file stays as it was."""
    ran = project.run("-f", "docker-compose-example.yml", "run", EXAMPLE_TEXT="tables under Tables, été")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "4 words in | 4 different ones out" in ran.stdout
    assert words(project, "example") == {"tables": 1, "under": 1, "tables,": 1, "été": 1}
    empty = project.run("-f", "docker-compose-example.yml", "run", EXAMPLE_TEXT=" ")
    assert empty.returncode == 1 and "EXAMPLE_TEXT has no words" in empty.stdout
    assert "été" in words(project, "example")


def test_a_copy_under_another_name_is_a_component(project: Workspace) -> None:
    """As the README says: four things copied, `example` replaced by a name, and it runs beside the first one."""
    copies = {
        "src/example": "src/counter",
        "docker/example": "docker/counter",
        "docker-compose-example.yml": "docker-compose-counter.yml",
    }
    for source, target in copies.items():
        path = project.folder / source
        (shutil.copytree if path.is_dir() else shutil.copy)(path, project.folder / target)
    copied = [project.folder / "docker-compose-counter.yml"]
    copied += [path for folder in ("src", "docker") for path in (project.folder / folder / "counter").iterdir()]
    for file in copied:
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("example", "counter").replace("EXAMPLE", "COUNTER"), encoding="utf-8")
    groups = project.folder / "pyproject.toml"
    text = groups.read_text(encoding="utf-8")
    assert "\nexample = []\n" in text
    groups.write_text(text.replace("\nexample = []\n", "\nexample = []\ncounter = []\n"), encoding="utf-8")
    files = ["-f", "docker-compose-example.yml", "-f", "docker-compose-counter.yml"]
    ran = project.run(*files, "run", COUNTER_TEXT="one two two")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert words(project, "counter") == {"two": 2, "one": 1} and words(project, "example")["table"] == 2
