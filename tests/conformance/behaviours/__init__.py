"""The behaviours, by theme."""

from __future__ import annotations

from collections.abc import Mapping

from tests.conformance.behaviour import Behaviour
from tests.conformance.behaviours import (
    commands,
    composition,
    conditions,
    endings,
    env_files,
    environment,
    mounts,
    network,
    secrets,
    users,
)

__all__ = ["THEMES"]

THEMES: Mapping[str, tuple[Behaviour, ...]] = {
    "Variables": environment.BEHAVIOURS,
    "Files of variables": env_files.BEHAVIOURS,
    "Commands, images, folders": commands.BEHAVIOURS,
    "Exit codes and output": endings.BEHAVIOURS,
    "Conditions, health, restarts, signals": conditions.BEHAVIOURS,
    "Mounts": mounts.BEHAVIOURS,
    "Users and limits": users.BEHAVIOURS,
    "Secrets and configs": secrets.BEHAVIOURS,
    "Several files and services": composition.BEHAVIOURS,
    "Names and ports": network.BEHAVIOURS,
}
"""Title on the page of the results → behaviours."""
