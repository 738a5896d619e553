"""Which Python of this machine stands in for the one of an image.

A search starts uv, which takes some tenths of a second, so its result is recorded beside the environments, in
`pythons/<version><requirement>.json`. A record is believed while the interpreter is the file that it was and, when it
is a substitute, while no directory has changed where the wanted Python could have come to.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from gigogne.engines.process.uv import Failed, run_uv
from gigogne.errors import EngineError

__all__ = ["Interpreter", "find_interpreter"]

_OLDEST = 11
_NEWEST = 16  # how far above the wanted minor version of Python 3 it is worth asking
_ANY = ">=3.11"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python of this machine, never that of a virtual environment.

    Attributes:
        executable: Its program, with links resolved.
        version: Its version (`3.11.7`).
        wanted: The version that was asked for (`3.12`); `3` when any would do.
        stamp: The time of the last change of the program.
    """

    executable: Path
    version: str
    wanted: str
    stamp: int

    @property
    def exact(self) -> bool:
        """Whether it is the minor version that was asked for."""
        return f"{self.version}.".startswith(f"{self.wanted}.")


def find_interpreter(
    wanted: str,
    requires: str,
    cache: Path | None,
    *,
    download: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> Interpreter:
    """The Python `wanted` (`3.12`), else the nearest that `requires` allows; `download` lets uv get it.

    Raises:
        EngineError: This machine has none that would do.
    """
    record = cache / "pythons" / f"{wanted}{quote(requires, safe='')}.json" if cache else None
    found = _recorded(record, requires, download) if record else None
    if found is None:
        found = _search(wanted, requires, download, progress)
        if record:
            _write(record, found, requires, download)
    return found


def _search(wanted: str, requires: str, download: bool, progress: Callable[[str], None]) -> Interpreter:
    if wanted == "3":  # any will do: the newest, as in the image of that name
        newest = (_find(f"==3.{minor}.*,{requires or _ANY}", wanted) for minor in range(_NEWEST, _OLDEST - 1, -1))
        if found := next(filter(None, newest), None):
            return found
    elif found := _find(wanted, wanted):
        return found
    if download and wanted != "3":
        progress(f"Python {wanted} is not on this machine: asking uv for it")
        try:
            # One try and short waits: without a network this must end at once.
            run_uv(
                ["python", "install", "--no-bin", wanted],
                own={"UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": "10", "UV_HTTP_CONNECT_TIMEOUT": "5"},
                timeout=180,
            )
        except Failed:
            progress(f"Python {wanted} cannot be had here")
        if found := _find(wanted, wanted):
            return found
    for minor in _nearest(wanted):
        if found := _find(f"==3.{minor}.*,{requires or _ANY}", wanted):
            return found
    raise EngineError(
        f"Python {wanted} is not on this machine, nor another that would do ({requires or _ANY})",
        f"install it from your system's packages, or type: uv python install {wanted}",
    )


def _nearest(wanted: str) -> Iterator[int]:
    """The other minor versions of Python 3, nearest first; of two, the older, which has more wheels."""
    minor = int(wanted.split(".")[1]) if "." in wanted else _NEWEST
    others = [other for other in range(_OLDEST, max(_NEWEST, minor) + 1) if other != minor]
    return iter(sorted(others, key=lambda other: (abs(other - minor), other)))


def _find(request: str, wanted: str) -> Interpreter | None:
    flags = ["--system", "--no-project", "--no-python-downloads", "--offline"]
    try:
        lines = run_uv(["python", "find", *flags, request], own={"PATH": _search_path()}, timeout=60)
    except Failed:
        return None
    return _inspect(lines[-1], wanted) if lines else None


def _search_path() -> str:
    """PATH as uv should see it: pyenv's shims fail for all versions but one, and so hide the others."""
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    folders = [folder for folder in folders if folder.name != "shims"]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    with contextlib.suppress(OSError):  # PYENV_ROOT may come from another user's shell
        folders += sorted(pyenv.glob("versions/3.*/bin"), reverse=True)
    # The one that runs this: in a virtual environment PATH may not lead to it.
    folders.append(Path(sys.base_prefix) / ("" if os.name == "nt" else "bin"))
    return os.pathsep.join(map(str, folders))


def _inspect(program: str, wanted: str) -> Interpreter | None:
    """The interpreter behind `program`; the base one when it belongs to a virtual environment."""
    question = (
        "import json, sys; print(json.dumps([getattr(sys, '_base_executable', None) or sys.executable, "
        "'.'.join(map(str, sys.version_info[:3]))]))"
    )
    try:
        answer = subprocess.run([program, "-I", "-c", question], capture_output=True, text=True, timeout=30, check=True)
        executable, version = json.loads(answer.stdout)
        path = Path(executable).resolve(strict=True)
        return Interpreter(path, version, wanted, path.stat().st_mtime_ns)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _places() -> list[list[object]]:
    """The directories that a Python could come to, each with the time of its last change."""
    home = Path.home()
    own = [
        Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or home / ".local/share/uv/python"),
        home / ".pyenv/versions",
        Path(sys.base_prefix),
    ]
    folders = [*os.environ.get("PATH", "").split(os.pathsep), *map(str, own)]
    places: list[list[object]] = []
    for folder in dict.fromkeys(folders):
        try:
            places.append([folder, Path(folder).stat().st_mtime_ns])
        except OSError:
            places.append([folder, 0])
    return places


def _recorded(record: Path, requires: str, download: bool) -> Interpreter | None:
    try:
        data = json.loads(record.read_text(encoding="utf-8"))
        known = data["interpreter"]
        found = Interpreter(Path(known["executable"]), known["version"], known["wanted"], known["stamp"])
        if found.executable.stat().st_mtime_ns != found.stamp:
            return None
        substitute = not found.exact
        if substitute and (data["requires"], data["places"]) != (requires, _places()):
            return None
        return None if substitute and download and not data["download"] else found
    except (OSError, ValueError, KeyError, TypeError):
        return None  # no record, or an interrupted one: look again


def _write(record: Path, found: Interpreter, requires: str, download: bool) -> None:
    data = {"interpreter": asdict(found), "requires": requires, "download": download, "places": _places()}
    record.parent.mkdir(parents=True, exist_ok=True)
    fresh = record.with_name(f"{record.name}.{os.getpid()}")
    fresh.write_text(json.dumps(data, default=str), encoding="utf-8")
    fresh.replace(record)
