"""What the tests of loading and explaining share: a folder of their own, and a shell that says nothing of Compose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

SHELL_NAMES = ("COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES", "COMPOSE_ENV_FILES")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Each test in a folder of its own."""
    for name in SHELL_NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
