"""What a machine lacks is skipped by name, and fails in CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import REPOSITORY

ASKS_FOR_DOCKER = "tests/images/test_stand_ins.py::test_postgres_without_a_password_ends"
ASK_FOR_AIRFLOW = ["tests/airflow/test_scenarios.py"]
WITHOUT_AIRFLOW = "import sys; sys.modules['airflow'] = None"  # Python's way to say: it cannot be imported


@pytest.mark.parametrize(
    ("settings", "outcome"),
    [
        ({"CI": ""}, "SKIPPED [1] tests/conftest.py"),
        ({"CI": "true"}, "Failed: CI must have Docker"),
        ({"CI": "true", "GIGOGNE_TEST_NO_DOCKER": "1"}, "no Docker: GIGOGNE_TEST_NO_DOCKER is set"),
    ],
)
def test_a_machine_without_docker(tmp_path: Path, settings: dict[str, str], outcome: str) -> None:
    """A test marked `docker` is skipped by name on a laptop and fails in CI, but where CI runs without it."""
    nobody_there = {"DOCKER_HOST": f"unix://{tmp_path}/docker.sock", "GIGOGNE_TEST_NO_DOCKER": "", "PYTEST_ADDOPTS": ""}
    said = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", ASKS_FOR_DOCKER],
        cwd=REPOSITORY,
        env={**os.environ, **nobody_there, **settings},
        capture_output=True,
        text=True,
    )
    assert outcome in said.stdout
    assert said.returncode == (1 if "Failed" in outcome else 0)


@pytest.mark.parametrize(
    ("settings", "outcome"),
    [
        ({"CI": ""}, "no Airflow: "),
        ({"CI": "true"}, "Failed: CI must have Airflow"),
        ({"CI": "true", "GIGOGNE_TEST_NO_AIRFLOW": "1"}, "no Airflow: GIGOGNE_TEST_NO_AIRFLOW is set"),
    ],
)
def test_a_machine_without_airflow(tmp_path: Path, settings: dict[str, str], outcome: str) -> None:
    """What needs Airflow is skipped by name on a laptop and fails in CI, but where CI runs without it."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_AIRFLOW, encoding="utf-8")
    nothing_there = {"PYTHONPATH": str(tmp_path), "GIGOGNE_TEST_NO_AIRFLOW": "", "PYTEST_ADDOPTS": ""}
    said = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *ASK_FOR_AIRFLOW],
        cwd=REPOSITORY,
        env={**os.environ, **nothing_there, **settings},
        capture_output=True,
        text=True,
    )
    assert outcome in said.stdout, said.stdout
    assert said.returncode == (1 if "Failed" in outcome else 0)
