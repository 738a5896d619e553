"""The package without Airflow: it says what to install, and what needs no Airflow works."""

from __future__ import annotations

import subprocess
import sys

import pytest

import gigogne.airflow

WITHOUT = "import sys; sys.modules['airflow'] = None; "


@pytest.mark.parametrize("name", gigogne.airflow.__all__)
def test_without_airflow_the_command_is_named(name: str) -> None:
    """Whatever is imported: one error, which ends with what to type."""
    code = f"{WITHOUT}from gigogne.airflow import {name}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("gigogne.errors.EngineError") and last.endswith("pip install 'gigogne[airflow]'")
    assert f"gigogne.airflow.{name} needs Apache Airflow" in last


def test_what_needs_no_airflow_does_without() -> None:
    """The names are listed, and the ids of runs can be made anywhere."""
    code = f"{WITHOUT}import gigogne.airflow as a; from gigogne.airflow.files import stable_run_id; print(*dir(a))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(gigogne.airflow.__all__) <= set(done.stdout.split())


def test_other_names_are_not_there() -> None:
    """As in any module."""
    with pytest.raises(AttributeError, match="ComposeDagg"):
        _ = gigogne.airflow.ComposeDagg
