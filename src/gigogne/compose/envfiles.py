"""The env files that Compose interpolates with, and the lines of variables in them. Values are Compose's to read."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gigogne.compose.load import LoadOptions

__all__ = ["Line", "env_file_lines", "project_env_files"]

_ASSIGNMENT = re.compile(
    r"[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][\w.\-\[\]]*)[ \t]*(?P<sign>[=:]|(?=#|$))(?P<rest>.*)"
)


@dataclass(frozen=True, slots=True)
class Line:
    """Where an env file sets a variable: the number of the line (from 1), and what the line says.

    Attributes:
        number: The line.
        text: What stands behind the sign, as written. Empty where Compose interpolates nothing in it.
        passed: There is a name alone: the value is the shell's or `.env`'s.
    """

    number: int
    text: str = ""
    passed: bool = False

    def __repr__(self) -> str:
        return f"Line({self.number})"  # the text holds the value


def project_env_files(options: LoadOptions, directory: Path, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The env files that feed `${…}`, the winning one first, by Compose's rule.

    They are those of `--env-file`, else of `COMPOSE_ENV_FILES`, else the `.env` of the folder one stands in (or of the
    first `-f`), then the `.env` of the project's directory.
    """
    named = options.env_files or tuple(filter(None, environment.get("COMPOSE_ENV_FILES", "").split(",")))
    if named:
        return tuple(Path(file).absolute() for file in reversed(named))
    if environment.get("COMPOSE_DISABLE_ENV_FILE", "").lower() in ("1", "t", "true"):
        return ()
    first = Path(options.directory or (Path(options.files[0]).parent if options.files else "."))
    found = dict.fromkeys(Path(os.path.normpath(d.absolute())) / ".env" for d in (first, directory))
    return tuple(file for file in found if file.is_file())


def env_file_lines(file: Path, *, raw: bool = False) -> dict[str, Line]:
    """The variables of an env file and where each was set last. `raw` is `format: raw`: no quotes, no `${…}`."""
    try:
        lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError:
        return {}
    found: dict[str, Line] = {}
    index = 0
    while index < len(lines):
        match = _ASSIGNMENT.match(lines[index])
        number = index + 1
        index += 1
        if match is None:
            continue
        rest = match["rest"].strip()
        if rest[:1] in ("'", '"') and not raw:
            index = _closing_line(lines, index - 1, rest)
            rest = "" if rest[0] == "'" else "\n".join([rest, *lines[number:index]])
        found[match["name"]] = Line(number, "" if raw else rest, passed=not match["sign"])
    return found


def _closing_line(lines: list[str], start: int, rest: str) -> int:
    """The index behind the line on which the quote that `rest` begins with is closed."""
    closing = re.compile(r"(?<!\\)" + rest[0])
    if closing.search(rest, 1):
        return start + 1
    for index in range(start + 1, len(lines)):
        if closing.search(lines[index]):
            return index + 1
    return start + 1
