"""The commands of a RUN: what each means here. A command that is in no table is refused by name and line.

The tables are printed in docs/reference/dockerfile-support.md.
"""

from __future__ import annotations

import posixpath
import re
import shutil
from collections.abc import Mapping, Sequence

from gigogne.engines.process.image import installs
from gigogne.engines.process.image.accounts import ACCOUNTS
from gigogne.engines.process.image.draft import Draft
from gigogne.engines.process.image.files import FILES
from gigogne.engines.process.image.recipe import SYSTEM
from gigogne.engines.process.image.shell import Command, Refused, Shell, Support, by_name, operands

__all__ = ["MODULES", "TABLES", "command_named", "fix_named_in"]

_VERSIONED = re.compile(r"(python|pip)\d?(\.\d+)?")
_PIP_LOOKS = frozenset("cache --version -V config list check freeze show debug help".split())
_CODE = ("this would run code of the image", "run it when the service starts (command:), or before the build")
_UV_LOOKS = frozenset("cache --version -V version python self help".split())


def _pip(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    at = next((at for at, word in enumerate(words) if not word.startswith("-")), 0)
    if not words or words[at] in _PIP_LOOKS:
        return
    if words[at] == "wheel":
        raise Refused("", "pip install into a virtual environment in this stage, and COPY --from it in place of wheels")
    if words[at] != "install":
        raise Refused("")
    place = installs.environment_of(shell.draft, shell.program, variables)
    _install(shell, [*words[:at], *words[at + 1 :]], place, variables)


def _install(shell: Shell, words: Sequence[str], place: str, variables: Mapping[str, str]) -> None:
    step = installs.pip_install(shell.draft, shell.line, words, place, variables)
    if step is not None:
        if not step.plain:
            shell.draft.environments.add(step.environment)
        shell.draft.steps.append(step)


def _make_environment(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    step = installs.make_environment(shell.draft, shell.line, words)
    shell.draft.environments.add(step.path)
    shell.draft.steps.append(step)


def _uv(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    if words[:1] == ["venv"]:
        _make_environment(shell, words[1:], variables)
    elif words[:1] == ["sync"]:
        step = installs.uv_sync(shell.draft, shell.line, words[1:], variables)
        shell.draft.environments.add(step.environment)
        shell.draft.steps.append(step)
    elif words[:2] == ["pip", "install"]:
        _install(shell, words[2:], _uv_environment(shell.draft, words, variables), variables)
    elif words[:2] == ["pip", "sync"]:
        files = [word for file in operands(words[2:]) for word in ("-r", file)]
        options = [word for word in words[2:] if word.startswith("-")]
        _install(shell, [*options, *files], _uv_environment(shell.draft, words, variables), variables)
    elif words[:2] == ["python", "install"] and shell.draft.python == "3":
        shell.draft.python = next(iter(re.findall(r"^3\.\d+", "".join(words[2:3]))), "3")
    elif words[:1] and words[0] not in _UV_LOOKS:
        raise Refused("", "write uv sync or uv pip install; what runs code belongs into command:")


def _uv_environment(draft: Draft, words: Sequence[str], variables: Mapping[str, str]) -> str:
    """Where uv installs when no `--python` says it: the settings, then `.venv` of the directory."""
    if "--system" in words or variables.get("UV_SYSTEM_PYTHON", "").lower() in ("1", "true"):
        return installs.environment_of(draft, "python", {})
    if python := variables.get("UV_PYTHON", ""):
        return installs.environment_of(draft, python, {})
    if active := variables.get("VIRTUAL_ENV"):
        return draft.path(active)
    if draft.path(".venv") in draft.environments:
        return draft.path(".venv")
    return installs.environment_of(draft, "python", variables)


def _python(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    if list(words) in (["--version"], ["-V"]):
        return
    if words[:1] == ["-m"] and (module := _MODULES.get("".join(words[1:2]))):
        module.read(shell, words[2:], variables)
        return
    raise Refused(*_CODE)


# Packages that are installed for one program, which this machine may have.
_PROGRAMS = {
    "bash": "bash", "build-essential": "gcc", "curl": "curl", "default-jre": "java", "dos2unix": "dos2unix",
    "ffmpeg": "ffmpeg", "g++": "g++", "gcc": "gcc", "git": "git", "graphviz": "dot", "jq": "jq", "make": "make",
    "netcat": "nc", "netcat-openbsd": "nc", "netcat-traditional": "nc", "openssh-client": "ssh", "pandoc": "pandoc",
    "poppler-utils": "pdftotext", "postgresql-client": "psql", "procps": "ps", "redis-tools": "redis-cli",
    "rsync": "rsync", "sqlite3": "sqlite3", "tesseract-ocr": "tesseract", "tini": "tini", "unzip": "unzip",
    "wget": "wget", "zip": "zip",
}  # fmt: skip


def _packages(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    verb, *found = operands(words, ("-o", "-t", "-c", "--virtual")) or [""]
    if verb not in ("install", "add"):
        return
    programs = {name: _PROGRAMS[name] for name in found if name in _PROGRAMS}
    others = [name for name in found if name not in programs]
    for name, program in programs.items():
        if shutil.which(program) is None:
            message = f"`{program}` (of the package {name}) is not on this machine, and not installed by this line"
            shell.notes.remark(shell.line, message, f"install {name} here too, where the module calls {program}")
    if others:
        message = f"the packages {', '.join(others)} are not installed"
        shell.notes.remark(shell.line, message, "the module finds those of this machine, if they are there")


def _cd(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    shell.draft.working_dir = shell.draft.path(words[0] if words else "/root")


def _export(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            shell.variables[name] = value


def _activate(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    path = posixpath.dirname(posixpath.dirname(shell.draft.path(words[0]))) if words else ""
    if path not in shell.draft.environments - {SYSTEM}:
        raise Refused("", "it is understood for the bin/activate of an environment that this Dockerfile makes")
    shell.variables["VIRTUAL_ENV"] = path
    shell.variables["PATH"] = f"{path}/bin:{shell.variables.get('PATH', '')}"


def _other_shell(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    raise Refused(*_CODE)  # `sh -c` is cut by the reader of the RUN


def _git(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    if words[:1] not in (["config"], ["--version"]) and words[:2] != ["lfs", "install"]:
        raise Refused("", "pip install git+https://…, or put the sources into the build context and COPY them")


_HONOURED, _NOTED, _REFUSED = Support.HONOURED, Support.NOTED, Support.REFUSED

_PYTHON = (
    Command("pip", _HONOURED, "`pip install`, by uv; what only looks changes nothing; the rest is refused", _pip),
    Command("uv", _HONOURED, "`uv pip install`, `uv pip sync`, `uv sync`, `uv venv`; the rest is refused", _uv),
    Command("python", _HONOURED, "`-m` with a module of the table below; code of the image is refused", _python),
    Command("virtualenv", _HONOURED, "an environment is made, by uv", _make_environment),
    Command(
        "poetry", _REFUSED, "write `pip install .` in its place (pip builds it as poetry does), or `poetry export` "
        "once and `pip install -r requirements.txt`"
    ),
    Command(
        "pipenv", _REFUSED, "write `pipenv requirements > requirements.txt` once, and `pip install -r "
        "requirements.txt` in its place"
    ),
    Command("pdm", _REFUSED, "write `pip install .` in its place, or `pdm export` once and `pip install -r` of it"),
    Command(
        "conda mamba micromamba", _REFUSED, "start from python:3.12-slim, and write `pip install -r requirements.txt` "
        "in its place"
    ),
)  # fmt: skip
_SYSTEM = (
    Command("apt-get apt apk yum dnf microdnf", _NOTED, "system packages are not installed, and named", _packages),
    Command(
        "locale-gen localedef update-locale dpkg-reconfigure update-ca-certificates update-alternatives ldconfig "
        "fc-cache apt-key apt-mark",
        _NOTED, "this machine's system serves",
    ),
    Command("git", _HONOURED, "`git config` changes nothing here; the rest is refused", _git),
    Command("npm npx yarn pnpm node", _REFUSED, "build it before, and COPY what it makes"),
    Command("make cmake gcc g++ cargo go", _REFUSED, "build it before, and COPY what it makes, or install a wheel"),
    Command("tar unzip gunzip", _REFUSED, "write ADD ARCHIVE.tar.gz TARGET, which unpacks it, or COPY the files"),
    Command("playwright", _REFUSED, "install the browsers on this machine, and mount them"),
    Command("dpkg", _REFUSED, "install the package on this machine, and remove this line"),
    Command("curl wget", _REFUSED, "put the file into the build context and COPY it, or fetch it in command:"),
)  # fmt: skip
_SHELL = (
    Command("cd", _HONOURED, "until the end of the RUN", _cd),
    Command("export", _HONOURED, "until the end of the RUN", _export),
    Command("source .", _HONOURED, "of the `bin/activate` of an environment that the Dockerfile makes", _activate),
    Command("sh bash", _HONOURED, "`-c 'SCRIPT'` is read like the RUN itself; a file is refused", _other_shell),
    Command("echo", _HONOURED, "with `> FILE` or `>> FILE` it makes the file, else it changes nothing"),
    Command(
        "set true : test [ umask exit ls pwd cat which id whoami printenv date uname df du nproc sync sleep",
        _HONOURED, "they change nothing that lasts",
    ),
)  # fmt: skip

MODULES = (
    Command("pip", _HONOURED, "as the command", _pip),
    Command("venv virtualenv", _HONOURED, "an environment is made, by uv", _make_environment),
    Command("compileall ensurepip site", _HONOURED, "they change nothing that lasts"),
    Command(
        "nltk.downloader nltk", _REFUSED, "download them when the service starts, into a volume that NLTK_DATA names"
    ),
    Command("spacy", _REFUSED, "RUN pip install the address of the model's wheel in its place"),
)  # fmt: skip
"""What `python -m` is understood with."""

TABLES: Mapping[str, Sequence[Command]] = {
    "Python": _PYTHON,
    "Files": FILES,
    "Users": ACCOUNTS,
    "System": _SYSTEM,
    "Shell": _SHELL,
}
"""The commands by what they are about."""

_COMMANDS = by_name(*TABLES.values())
_MODULES = by_name(MODULES)


def command_named(program: str) -> Command | None:
    """The row of a program, whatever its directory and, for Python's own, its version."""
    name = posixpath.basename(program)
    versioned = _VERSIONED.fullmatch(name)
    return _COMMANDS.get(versioned[1] if versioned else name)


def fix_named_in(script: str) -> str:
    """The fix of the first refused command that is named in a script which only a shell understands; may be empty."""
    for name, row in _COMMANDS.items():
        if row.support is _REFUSED and re.search(rf"\b{re.escape(name)}\b", script):
            return row.meaning
    return ""
