"""Secrets among the build arguments, in what a builder says."""

from __future__ import annotations

from pathlib import Path

from gigogne.core.build_arguments import conceal
from gigogne.core.model import Build


def test_secret_build_arguments_are_masked() -> None:
    """By their names or by how they look; what is harmless stays readable, and an empty one changes nothing."""
    build = Build(
        Path(),
        None,
        args={
            "TOKEN": "hunter2",
            "API_KEY": "hunter2-more",
            "VERSION": "3.12",
            "INDEX": "https://me:pw@host/",
            "X": "",
        },
    )
    said = conceal("RUN get --token hunter2 --key hunter2-more 3.12 https://me:pw@host/", build)
    assert "hunter2" not in said and "pw@" not in said
    assert said.startswith("RUN get --token ***") and "3.12 https://me:***@host/" in said
