"""The commands that make Python environments and install into them, put in uv's own words.

`pip install`, `uv pip install` and `uv sync` differ in their options; an option that is in no table here is
refused, because what it would change is not known.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence

from gigogne.engines.process.image.draft import Draft
from gigogne.engines.process.image.recipe import SYSTEM, ImagePath, Install, MakeEnvironment, names
from gigogne.engines.process.uv import index_settings

__all__ = ["Refused", "environment_of", "make_environment", "pip_install", "uv_sync"]

_IGNORED = names(
    "--no-cache-dir --no-cache -n --quiet -q -qq --verbose -v -vv --disable-pip-version-check --no-input "
    "--system --break-system-packages --compile --no-compile --compile-bytecode --no-warn-script-location "
    "--prefer-binary --no-progress --ignore-installed -I --force-reinstall --no-python-downloads "
    "--no-color --no-warn-conflicts --relocatable --seed --clear --allow-existing --copies --without-pip "
    "--upgrade-deps --no-project"
)
_IGNORED_VALUES = names(
    "--progress-bar --retries --timeout --root-user-action --cache-dir --link-mode --color --upgrade-strategy --prompt"
)
_KEPT = names(
    "--no-deps --require-hashes --no-build-isolation --upgrade -U --no-index --no-build --all-extras "
    "--no-sources --frozen --locked --no-dev --dev --no-install-project --no-install-workspace "
    "--no-default-groups --all-groups --inexact --no-editable --only-dev"
)
_KEPT_VALUES = names(
    "--index-url -i --default-index --index --extra-index-url --only-binary --no-binary --resolution "
    "--prerelease --index-strategy --torch-backend --extra --exclude-newer --upgrade-package -P "
    "--config-settings -C --no-group --only-group --package --allow-insecure-host"
)
_RENAMED = {"--pre": "--prerelease=allow"}
_FILES = {
    "-r": "-r", "--requirement": "-r", "--requirements": "-r",
    "-c": "-c", "--constraint": "-c", "--constraints": "-c",
    "--override": "--override", "--overrides": "--override", "--build-constraint": "--build-constraint",
}  # fmt: skip
_PLACES = ("-p", "--python", "--prefix")
_INSTALLER = re.compile(r"(pip|uv)\s*([=<>!~\[;].*)?")
_LOCAL_PATH = re.compile(r"(?P<path>\.{0,2}/[^\[]*|\.{1,2}(?=\[|$)|[^\[\s:]+\.(?:whl|tar\.gz|zip))(?P<suffix>\[.*\])?")


class Refused(Exception):  # noqa: N818 - a signal inside the reader, which turns it into a problem
    """A command that cannot be honoured: what of it, and what to do."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


def environment_of(draft: Draft, program: str, variables: Mapping[str, str]) -> str:
    """The environment that `pip` or `python`, called as `program`, belongs to."""
    if "/" in program:
        folder = posixpath.dirname(posixpath.dirname(draft.path(program)))
        return SYSTEM if folder in ("/usr", "/") else folder
    for folder in variables.get("PATH", "").split(":"):
        if posixpath.dirname(folder) in draft.environments:
            return posixpath.dirname(folder)
    return SYSTEM


def make_environment(draft: Draft, line: int, words: Sequence[str]) -> MakeEnvironment:
    """The step of `uv venv …` or `python -m venv …`; `words` are what follows."""
    path = ".venv"
    for option, value in _options(words, valued=_IGNORED_VALUES | {"-p", "--python"}):
        if option and option not in _IGNORED | _IGNORED_VALUES | {"-p", "--python"}:
            raise Refused(f"the option {option}")
        if not option:
            path = value
    return MakeEnvironment(line, draft.path(path))


def pip_install(
    draft: Draft, line: int, words: Sequence[str], place: str, variables: Mapping[str, str]
) -> Install | None:
    """The step of `pip install …` or `uv pip install …`, into `place` unless an option says else.

    None when nothing is left to install: uv takes pip's place, so that `pip install --upgrade pip` does
    nothing.
    """
    arguments: list[str | ImagePath] = []
    files: list[str] = []
    folders: list[str] = []
    named = False
    for option, value in _options(words, valued=_VALUED):
        if option in _FILES:
            named = named or _FILES[option] == "-r"
            if "://" in value:
                arguments += [_FILES[option], value]
            else:
                files.append(draft.path(value))
                arguments += [_FILES[option], ImagePath(draft.path(value))]
        elif option in _PLACES:
            place = _place(draft, option, value, place)
        elif option == "--group":
            file, colon, group = value.rpartition(":")
            files.append(draft.path(file or "pyproject.toml"))
            arguments += ["--group", ImagePath(files[-1], f":{group}") if colon else group]
            named = True
        elif option in ("-f", "--find-links"):
            arguments += [option, value if "://" in value else ImagePath(draft.path(value))]
        elif option in ("-e", "--editable", "") and (local := _LOCAL_PATH.fullmatch(value)):
            path = draft.path(local["path"])
            (files if path.endswith((".whl", ".gz", ".zip")) else folders).append(path)
            arguments += [*(["-e"] if option else []), ImagePath(path, local["suffix"] or "")]
            named = True
        elif option == "" and not _INSTALLER.fullmatch(value):
            arguments.append(value)
            named = True
        elif option:
            arguments += _plain(option, value)
    if any("*" in path for path in files + folders):
        raise Refused("a file pattern", "name the files one by one")
    if not named:
        return None
    verb = ("pip", "install")
    return _install(draft, line, place, verb, arguments, files, folders, variables)


def uv_sync(draft: Draft, line: int, words: Sequence[str], variables: Mapping[str, str]) -> Install:
    """The step of `uv sync …`."""
    arguments: list[str | ImagePath] = []
    for option, value in _options(words, valued=_VALUED):
        if option in ("-p", "--python"):
            continue
        if not option or option in _FILES or option in _PLACES or option in ("-e", "--editable", "-f", "--find-links"):
            raise Refused(option or value)
        arguments += ["--group", value] if option == "--group" else _plain(option, value)
    project = {"--no-install-project", "--no-install-workspace", "--only-group", "--only-dev"}.isdisjoint(
        argument for argument in arguments if isinstance(argument, str)
    )
    place = draft.path(variables.get("UV_PROJECT_ENVIRONMENT") or ".venv")
    files = [draft.path("pyproject.toml"), draft.path("uv.lock")]
    folders = [draft.working_dir] if project else []
    return _install(draft, line, place, ("sync",), arguments, files, folders, variables)


_VALUED = _IGNORED_VALUES | _KEPT_VALUES | set(_FILES) | set(_PLACES) | {
    "--group", "-e", "--editable", "-f", "--find-links", "--trusted-host",
}  # fmt: skip


def _options(words: Sequence[str], valued: frozenset[str] | set[str]) -> Iterator[tuple[str, str]]:
    """Each option with its value, and each other word as the value of an empty option."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("-") or word == "-":
            yield "", word
        elif equals and word.startswith("--"):
            yield name, value
        elif word in valued:
            if not rest:
                raise Refused(f"{word} without a value")
            yield word, rest.pop(0)
        elif word[:2] in valued and not word.startswith("--"):
            yield word[:2], word[2:]
        else:
            yield word, ""


def _plain(option: str, value: str) -> list[str | ImagePath]:
    if option in _IGNORED or option in _IGNORED_VALUES:
        return []
    if option == "--trusted-host":
        return ["--allow-insecure-host", value]
    if option in _KEPT:
        return [option]
    if option in _KEPT_VALUES:
        return [option, value]
    if option in _RENAMED:
        return [_RENAMED[option]]
    raise Refused(f"the option {option}")


def _place(draft: Draft, option: str, value: str, place: str) -> str:
    """The environment that `--python` or `--prefix` names; a version (`3.12`) names none."""
    if "/" not in value and (option != "--prefix" and not value.startswith(".")):
        return place
    path = draft.path(value)
    inside = posixpath.basename(posixpath.dirname(path)) in ("bin", "Scripts")
    path = posixpath.dirname(posixpath.dirname(path)) if inside else path
    return SYSTEM if path in ("/", "/usr") else path


def _install(
    draft: Draft,
    line: int,
    place: str,
    verb: tuple[str, ...],
    arguments: Sequence[str | ImagePath],
    files: Sequence[str],
    folders: Sequence[str],
    variables: Mapping[str, str],
) -> Install:
    return Install(
        line=line,
        environment=place,
        verb=verb,
        arguments=tuple(arguments),
        directory=draft.working_dir,
        files=tuple(files),
        folders=tuple(folders),
        variables=index_settings(variables),
        binds=draft.binds,
    )
