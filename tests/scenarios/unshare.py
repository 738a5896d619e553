"""A run in namespaces of its own: with another disk or another network than this machine has."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

from tests.conftest import Workspace

__all__ = ["run_unshared"]


def run_unshared(workspace: Workspace, prepare: str, *namespaces: str) -> subprocess.CompletedProcess[str]:
    """`gigogne run` in new namespaces (options of `unshare`), once the shell command `prepare` has succeeded there."""
    run = shlex.join([sys.executable, "-m", "gigogne", "run"])
    return subprocess.run(
        ["unshare", *namespaces, "sh", "-c", f"{prepare} && exec {run}"],
        cwd=workspace.folder,
        env={**os.environ, **workspace.environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
