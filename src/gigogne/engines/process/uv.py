"""The uv program: where it is, the environment it gets, and how its output reaches the user."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gigogne.engines.process.children import note_child
from gigogne.errors import EngineError

__all__ = ["Failed", "index_settings", "run_uv", "uv_environment"]

# What belongs to the caller's own shell or project, and would change what uv makes for a module.
_NOT_PASSED = frozenset(
    "VIRTUAL_ENV PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE __PYVENV_LAUNCHER__ CONDA_PREFIX "
    "CONDA_DEFAULT_ENV UV_PYTHON UV_SYSTEM_PYTHON UV_PROJECT UV_PROJECT_ENVIRONMENT UV_WORKING_DIR "
    "UV_WORKING_DIRECTORY UV_NO_PROJECT UV_BREAK_SYSTEM_PACKAGES UV_VENV_SEED UV_TARGET UV_PREFIX "
    "UV_FROZEN UV_LOCKED UV_NO_EDITABLE UV_NO_SYNC UV_ISOLATED".split()
)
# pip's own settings, and what uv calls them. uv reads none of pip's.
_PIP_SETTINGS = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_NO_INDEX": "UV_NO_INDEX",
    "PIP_CERT": "SSL_CERT_FILE",
    "PIP_TRUSTED_HOST": "UV_INSECURE_HOST",
}
_UV_SETTINGS = re.compile(
    r"UV_(DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|INDEX_STRATEGY|INSECURE_HOST|PRERELEASE|"
    r"RESOLUTION|EXCLUDE_NEWER|TORCH_BACKEND|NO_BUILD|INDEX_[A-Z0-9_]+_(USERNAME|PASSWORD))"
)
_PASSWORD = re.compile(r"(://)[^/@\s]+@")


class Failed(Exception):  # noqa: N818 - an outcome, which the callers turn into an error in their own words
    """uv ended with an error; `lines` are its last words, without passwords."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


def uv_environment(own: Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment without what would mislead uv, pip's index settings, and `own` over it."""
    passed = {key: value for key, value in os.environ.items() if key not in _NOT_PASSED}
    return {**index_settings(passed), **passed, **(own or {})}


def index_settings(variables: Mapping[str, str]) -> dict[str, str]:
    """The settings among `variables` that choose where packages come from, under uv's names."""
    found = {uv: variables[pip] for pip, uv in _PIP_SETTINGS.items() if variables.get(pip)}
    if "UV_FIND_LINKS" in found:  # pip separates by spaces and skips what is not there; uv does neither
        places = found["UV_FIND_LINKS"].split()
        # os.path.exists, because Path.exists fails where it may not look
        there = [place for place in places if "://" in place or os.path.exists(place)]  # noqa: PTH110
        found["UV_FIND_LINKS"] = ",".join(there)
    found.update({key: value for key, value in variables.items() if _UV_SETTINGS.fullmatch(key)})
    return {key: value for key, value in found.items() if value}


def run_uv(
    arguments: Sequence[str],
    *,
    directory: Path | None = None,
    own: Mapping[str, str] | None = None,
    progress: Callable[[str], None] | None = None,
    timeout: float | None = None,
) -> list[str]:
    """Run uv and return what it wrote, line by line; each line goes to `progress` as it comes.

    Raises:
        Failed: It ended with an error, or did not end in `timeout` seconds.
        EngineError: There is no uv.
    """
    command = [_uv(), *arguments, "--no-progress", "--color", "never"]
    lines: list[str] = []
    with subprocess.Popen(
        command,
        cwd=directory,
        env=uv_environment(own),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        note_child(process)
        try:
            if timeout is not None:
                output, _ = process.communicate(timeout=timeout)
                lines = [_PASSWORD.sub(r"\1***@", line) for line in output.splitlines()]
            else:
                assert process.stdout is not None
                for text in process.stdout:
                    line = _PASSWORD.sub(r"\1***@", text.rstrip())
                    lines.append(line)
                    if progress and line:
                        progress(line)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Failed([f"no answer in {timeout:.0f} s"]) from None
        except BaseException:
            process.kill()  # Ctrl-C, or a progress callback that fails: uv must not go on alone
            raise
    if process.returncode != 0:
        raise Failed([line for line in lines if line.strip()][-15:])
    return lines


def _uv() -> str:
    try:
        from uv import find_uv_bin

        return find_uv_bin()
    except (ImportError, FileNotFoundError):
        raise EngineError("the program uv is missing", "type: python -m pip install uv") from None
