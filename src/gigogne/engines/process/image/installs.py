"""The commands that make Python environments and install into them, put in uv's own words.

`pip install`, `uv pip install` and `uv sync` differ in their options; an option that is in no table here is
refused, because what it would change is not known.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gigogne.engines.process.image.draft import Draft
from gigogne.engines.process.image.recipe import SYSTEM, ImagePath, Install, MakeEnvironment, names
from gigogne.engines.process.image.shell import Refused
from gigogne.engines.process.uv import index_settings

__all__ = ["OPTIONS", "environment_of", "make_environment", "pip_install", "user_base", "uv_sync"]

_IGNORED = names(
    "--no-cache-dir --no-cache -n --quiet -q --verbose -v --disable-pip-version-check --no-input "
    "--system --break-system-packages --compile --no-compile --compile-bytecode --no-warn-script-location "
    "--prefer-binary --no-progress --ignore-installed -I --force-reinstall --no-python-downloads "
    "--no-color --no-warn-conflicts --relocatable --seed --clear --allow-existing --copies --without-pip "
    "--upgrade-deps --no-project --require-virtualenv --use-pep517 --isolated --no-python-version-warning"
)
_IGNORED_VALUES = names(
    "--progress-bar --retries --timeout --default-timeout --root-user-action --cache-dir --link-mode --color "
    "--upgrade-strategy --prompt --use-feature --use-deprecated --exists-action --src --log"
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
_FLAGS = names("-q -v -U -I -n")
_RENAMED = {"--pre": "--prerelease=allow"}
_FILES = {
    "-r": "-r", "--requirement": "-r", "--requirements": "-r",
    "-c": "-c", "--constraint": "-c", "--constraints": "-c",
    "--override": "--override", "--overrides": "--override", "--build-constraint": "--build-constraint",
}  # fmt: skip
_PLACES = ("-p", "--python", "--prefix")
_TARGETS = ("-t", "--target")
_LOCAL = names("-e --editable -f --find-links --group --trusted-host --user")
OPTIONS = {
    "passed to uv as they are": _KEPT | _KEPT_VALUES,
    "files, read where the image has them": frozenset(_FILES),
    "packages of the project, places of packages, dependency groups, the user's own packages": _LOCAL,
    "the environment to install into": frozenset(_PLACES),
    "a directory of packages without Python": frozenset(_TARGETS),
    "put in uv's words": frozenset(_RENAMED),
    "without a meaning for uv, and left out": _IGNORED | _IGNORED_VALUES,
}
"""The options of `pip install`, `uv pip install`, `uv sync` and `uv venv` by what becomes of them."""

_INSTALLER = re.compile(r"(pip|uv)\s*([=<>!~\[;].*)?")
_LOCAL_PATH = re.compile(r"(?P<path>\.{0,2}/[^\[]*|\.{1,2}(?=\[|$)|[^\[\s:]+\.(?:whl|tar\.gz|zip))(?P<suffix>\[.*\])?")


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
    pip = _PipInstall(draft, variables, place)
    for option, value in _options(words, valued=_VALUED):
        pip.take(option, value)
    if any("*" in path for path in pip.files + pip.folders):
        raise Refused("a file pattern", "name the files one by one")
    if not pip.named:
        return None
    verb = ("pip", "install")
    step = _install(draft, line, pip.place, verb, pip.arguments, pip.files, pip.folders, variables)
    return replace(step, plain=pip.plain)


@dataclass(slots=True)
class _PipInstall:
    """One `pip install` while its words are put in uv's; `named` once it names something to install."""

    draft: Draft
    variables: Mapping[str, str]
    place: str
    plain: bool = False
    named: bool = False
    arguments: list[str | ImagePath] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)

    def take(self, option: str, value: str) -> None:
        if option in ("-e", "--editable", ""):
            self.take_requirement(option, value)
        elif option in _FILES:
            self.take_file(_FILES[option], value)
        elif option == "--group":
            self.take_group(value)
        elif option in ("-f", "--find-links"):
            self.arguments += [option, value if "://" in value else ImagePath(self.draft.path(value))]
        elif option in _PLACES:
            self.place = _place(self.draft, option, value, self.place)
        elif option in _TARGETS:
            self.place, self.plain = _target(self.draft.path(value))
        elif option == "--user":
            self.place = user_base(self.variables) if self.place == SYSTEM else self.place
        else:
            self.arguments += _plain(option, value)

    def take_requirement(self, option: str, value: str) -> None:
        if local := _LOCAL_PATH.fullmatch(value):
            path = self.draft.path(local["path"])
            (self.files if path.endswith((".whl", ".gz", ".zip")) else self.folders).append(path)
            self.arguments += [*(["-e"] if option else []), ImagePath(path, local["suffix"] or "")]
        elif option:
            raise Refused(f"{option} {value}", "name a directory of the image: pip install -e .")
        elif installer := _INSTALLER.fullmatch(value):
            self.draft.has_uv = self.draft.has_uv or installer[1] == "uv"
            return
        else:
            self.arguments.append(value)
        self.named = True

    def take_file(self, option: str, value: str) -> None:
        self.named = self.named or option == "-r"
        path = self.draft.path(value)
        if "://" not in value:
            self.files.append(path)
        self.arguments += [option, value if "://" in value else ImagePath(path)]

    def take_group(self, value: str) -> None:
        file, colon, group = value.rpartition(":")
        self.files.append(self.draft.path(file or "pyproject.toml"))
        self.arguments += ["--group", ImagePath(self.files[-1], f":{group}") if colon else group]
        self.named = True


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


_VALUED = _IGNORED_VALUES | _KEPT_VALUES | set(_FILES) | set(_PLACES) | set(_TARGETS) | _LOCAL - {"--user"}


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
        elif word[:2] in _FLAGS and len(word) > 2:  # -qqq, or -Ur requirements.txt
            yield word[:2], ""
            rest.insert(0, f"-{word[2:]}")
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


def _target(path: str) -> tuple[str, bool]:
    """The environment whose site-packages `path` is, or `path` as a directory of packages: whether it is one."""
    inside = re.fullmatch(r"(.*)/lib/python3[^/]*/site-packages", path)
    return (inside[1], False) if inside else (path, True)


def user_base(variables: Mapping[str, str]) -> str:
    """Where `pip install --user` installs: variables have HOME."""
    return variables.get("PYTHONUSERBASE") or posixpath.join(variables["HOME"], ".local")


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
