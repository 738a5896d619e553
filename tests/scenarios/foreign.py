"""Projects of other people (`projects/`): one command line in one of them, and what comes of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import Workspace
from tests.scenarios.observe import events

__all__ = ["PROJECTS", "Scenario", "play", "refusal", "settle"]

PROJECTS = Path(__file__).parent / "projects"


@dataclass(frozen=True)
class Scenario:
    """One command line in one project, and what comes of it.

    Attributes:
        project: Its folder in `projects/`.
        command: What its owner types after `gigogne`; the last of them where there are several (`before`).
        before: Command lines that come first.
        environment: Variables of the owner's shell.
        order: The services in the order in which they start; where several may come first, in one string.
        says: What each service says, line by line; services that are not named may say anything.
        files: Path in the project, or `volume:NAME/PATH`, and the content.
        refused: The way that cannot do it, and the words with which it is refused.
    """

    project: str
    command: tuple[str, ...] = ("run",)
    before: tuple[tuple[str, ...], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    says: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.project}: {' '.join(self.command)}"


def settle(workspace: Workspace, project: str, name: str = "", *, windows: bool = False) -> None:
    """Make the workspace a checkout of the project, in a folder called as the project, or `name`.

    With `windows` it is one of Git for Windows: every line ends in CRLF; and .env was saved by Notepad, with a BOM.
    """
    workspace.folder = workspace.folder.parent / (name or project)
    shutil.copytree(PROJECTS / project, workspace.folder)
    if not windows:
        return
    for path in workspace.folder.rglob("*"):
        if path.is_file():
            bom = b"\xef\xbb\xbf" if path.name == ".env" else b""
            path.write_bytes(bom + path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))


def play(scenario: Scenario, workspace: Workspace) -> None:
    """Type the command lines, and compare: exit code, order, what was said, what was written."""
    for command in scenario.before:
        first = workspace.run(*command, **scenario.environment)
        assert first.returncode == 0, first.stdout + first.stderr
    result = workspace.run(*scenario.command, "--json", **scenario.environment)
    assert result.returncode == 0, result.stdout + result.stderr
    happened = events(result)
    started = [event["service"] for event in happened if event["event"] == "started"]
    place = {name: number for number, names in enumerate(scenario.order) for name in names.split()}
    assert sorted(started) == sorted(place) and started == sorted(started, key=place.__getitem__)
    for service, said in scenario.says.items():
        lines = [e["text"] for e in happened if e["event"] == "output" and e["service"] == service]
        assert lines == said.splitlines(), service
    for name, content in scenario.files.items():
        path = _place(name, workspace)
        assert path.is_file(), f"{name} is missing: {result.stdout}"
        assert path.read_bytes().decode().replace("\r\n", "\n") == content, name


def _place(name: str, workspace: Workspace) -> Path:
    if not name.startswith("volume:"):
        return workspace.folder / name
    volume, _, rest = name.removeprefix("volume:").partition("/")
    return workspace.volume(volume) / rest


def refusal(result: subprocess.CompletedProcess[str]) -> str:
    """The words of a run that was refused as a whole: on one line, nothing started, exit code 3."""
    assert result.returncode == 3, result.stdout + result.stderr
    assert "started" not in result.stdout
    if result.stderr.lstrip().startswith("{"):
        return json.dumps([json.loads(line) for line in result.stderr.splitlines()], ensure_ascii=False)
    return " ".join(result.stderr.split())
