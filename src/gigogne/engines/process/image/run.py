"""The `RUN` instructions: which commands are honoured, which are skipped with a note, which are refused.

There is no image to run a command in, so a command is honoured by what it means. One that is not in the table
at the end of this file is refused by name and line.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from e2b_dockerfile_utils import DockerfileInstruction, ShellLex, chomp_heredoc_content

from gigogne.engines.process.image import installs
from gigogne.engines.process.image.draft import Draft, Notes
from gigogne.engines.process.image.installs import Refused
from gigogne.engines.process.image.recipe import ChangeMode, MakeDirectory, User, names
from gigogne.engines.process.image.script import Piece, cut

__all__ = ["RunReader"]

_ANYWHERE_ELSE = "run it with docker compose, or do it in the module's own code"
_LOOPS = frozenset(["if", "for", "while", "until", "case", "{", "function"])
_PYTHON = re.compile(r"python(\d(\.\d+)?)?")
_PIP = re.compile(r"pip(\d(\.\d+)?)?")
_CACHES = re.compile(r"(/var/lib/apt|/var/cache|/var/log|/tmp|/root/\.cache|~/\.cache)(/.*)?")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)


@dataclass(slots=True)
class _Shell:
    """The shell that one RUN would have had."""

    draft: Draft
    notes: Notes
    line: int
    variables: dict[str, str]


class RunReader:
    """Reads the RUN instructions of one Dockerfile, whose lines are `lines`."""

    def __init__(self, notes: Notes, lines: Sequence[str]) -> None:
        self._notes = notes
        self._lines = lines

    def read(self, draft: Draft, run: DockerfileInstruction) -> None:
        """Add to `draft` what `run` means."""
        variables = {**draft.variables()}
        directory = draft.working_dir
        shell = _Shell(draft, self._notes, run.start_line, variables)
        try:
            if run.json:
                self._obey(shell, run.args, " ".join(run.args))
            else:
                self._script(shell, run)
        finally:
            draft.working_dir = directory  # `cd` lasts for one RUN

    def _script(self, shell: _Shell, run: DockerfileInstruction) -> None:
        script = "".join(run.args)
        if run.heredocs:
            first = run.heredocs[0]
            script = chomp_heredoc_content(first.content) if first.chomp else first.content
            other_shell = script.startswith("#!") and not re.match(r"#!\s*(/usr/bin/env )?\S*sh\b", script)
            if len(run.heredocs) > 1 or not run.args[0].startswith("<<") or " " in run.args[0] or other_shell:
                self._refuse(shell, run.args[0], "a heredoc for another program than the shell")
                return
        line = run.start_line
        for piece in cut(script):
            shell.line = line = self._line(piece, line, run.end_line)
            if piece.text.split()[0] in _LOOPS:
                self._refuse(shell, piece.text, "a shell construct")
                return
            self._piece(shell, piece)

    def _line(self, piece: Piece, start: int, end: int) -> int:
        """The line that `piece` is on: the parser joins continued lines."""
        begin = piece.text.splitlines()[0].split()[:2]
        pattern = re.compile(r"(?<!\S)" + r"\s+".join(map(re.escape, begin)))
        return next((n for n in range(start, end + 1) if pattern.search(self._lines[n - 1])), start)

    def _piece(self, shell: _Shell, piece: Piece) -> None:
        if piece.complex:
            self._refuse(shell, piece.text, "needs a shell (a pipe, a redirection, a substitution)")
            return
        try:
            words = ShellLex("\\", env=shell.variables, skip_unset_env=False).process_words(piece.text)
        except ValueError:
            self._refuse(shell, piece.text, "cannot be read")
            return
        self._obey(shell, words, piece.text)

    def _obey(self, shell: _Shell, words: Sequence[str], text: str) -> None:
        words = list(words)
        own = dict(shell.variables)
        while words and _ASSIGNMENT.fullmatch(words[0]):
            name, _, value = words.pop(0).partition("=")
            own[name] = value
        if not words:
            shell.variables = own
            return
        try:
            _obey(shell, words, own)
        except Refused as refusal:
            self._refuse(shell, text, refusal.what, refusal.hint)

    def _refuse(self, shell: _Shell, text: str, what: str, hint: str = "") -> None:
        # As written, before expansion: what a variable holds stays out of messages.
        shown = " ".join(text.split())
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        message = f"RUN {shown}: {what or 'this command is not one that can be done without Docker'}"
        shell.notes.refuse(shell.line, message, hint or _ANYWHERE_ELSE)


def _obey(shell: _Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    name = posixpath.basename(words[0])
    rest = words[1:]
    if _PYTHON.fullmatch(name) and rest[:1] == ["-m"]:
        module = rest[1] if len(rest) > 1 else ""
        if module in ("venv", "virtualenv"):
            _make_environment(shell, rest[2:])
        elif module == "pip":
            _pip(shell, words[0], rest[2:], variables)
        elif module != "compileall":
            raise Refused("")
    elif _PIP.fullmatch(name):
        _pip(shell, words[0], rest, variables)
    elif _PYTHON.fullmatch(name) and rest in (["--version"], ["-V"]):
        return
    elif command := _COMMANDS.get(name):
        command(shell, rest, variables)
    else:
        raise Refused("")


def _pip(shell: _Shell, program: str, words: Sequence[str], variables: Mapping[str, str]) -> None:
    if words[:1] in (["cache"], ["--version"], ["config"], ["list"], ["check"], ["freeze"]):
        return
    if words[:1] != ["install"]:
        raise Refused("")
    place = installs.environment_of(shell.draft, program, variables)
    _install(shell, words[1:], place, variables)


def _install(shell: _Shell, words: Sequence[str], place: str, variables: Mapping[str, str]) -> None:
    step = installs.pip_install(shell.draft, shell.line, words, place, variables)
    if step is not None:
        shell.draft.environments.add(step.environment)
        shell.draft.steps.append(step)


def _make_environment(shell: _Shell, words: Sequence[str]) -> None:
    step = installs.make_environment(shell.draft, shell.line, words)
    shell.draft.environments.add(step.path)
    shell.draft.steps.append(step)


def _uv(shell: _Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    if words[:1] == ["venv"]:
        _make_environment(shell, words[1:])
    elif words[:1] == ["sync"]:
        step = installs.uv_sync(shell.draft, shell.line, words[1:], variables)
        shell.draft.environments.add(step.environment)
        shell.draft.steps.append(step)
    elif words[:2] == ["pip", "install"]:
        _install(shell, words[2:], _uv_environment(shell.draft, words, variables), variables)
    elif words[:1] not in (["cache"], ["--version"], ["version"]):
        raise Refused("")


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


def _mkdir(shell: _Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    for path in _operands(words, valued=("-m", "--mode", "-Z", "-o", "-g")):
        shell.draft.steps.append(MakeDirectory(shell.line, shell.draft.path(path)))


def _install_program(shell: _Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    if "-d" not in words and "--directory" not in words:
        raise Refused("")
    _mkdir(shell, words, variables)


def _chmod(shell: _Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    flags = [word for word in words if re.fullmatch(r"-[Rvcf]+|--recursive", word)]
    rest = [word for word in words if word not in flags]
    recursive = any("R" in flag or flag == "--recursive" for flag in flags)
    if len(rest) < 2 or any("*" in word for word in rest):
        shell.notes.remark(shell.line, f"RUN chmod {' '.join(words[:1])} … is skipped")
        return
    mode, paths = rest[0], tuple(shell.draft.path(path) for path in rest[1:])
    if re.fullmatch(r"[0-7]{3,4}", mode):
        shell.draft.steps.append(ChangeMode(shell.line, paths, 0o777, int(mode, 8) & 0o777, recursive))
    elif match := re.fullmatch(r"([ugoa]*)\+([rwx]+)", mode):
        shell.draft.steps.append(ChangeMode(shell.line, paths, 0, _bits(*match.groups()), recursive))
    else:
        shell.notes.remark(shell.line, f"RUN chmod {mode} … is skipped")


def _bits(who: str, what: str) -> int:
    digit = sum({"r": 4, "w": 2, "x": 1}[letter] for letter in set(what))
    return sum(digit << {"u": 6, "g": 3, "o": 0}[letter] for letter in set((who or "a").replace("a", "ugo")))


def _useradd(shell: _Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    short = "".join(word[1:] for word in words if re.fullmatch(r"-[A-Za-z]+", word))
    _add_user(shell, words, ("-g", "--gid"), home="m" in short or "--create-home" in words)


def _adduser(shell: _Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    home = not {"--no-create-home", "-H", "--system", "-M"} & set(words)
    _add_user(shell, words, ("--gid", "--ingroup", "-G"), home=home)  # -g is busybox's word for the comment


def _add_user(shell: _Shell, words: Sequence[str], group_options: Sequence[str], *, home: bool) -> None:
    draft, options, names = shell.draft, _values(words, _USER_VALUES), _operands(words, _USER_VALUES)
    if not names:
        raise Refused("names no user")
    if len(names) > 1:  # `adduser USER GROUP` adds a user to a group
        return
    name, system = names[0], bool({"-r", "--system", "-S"} & set(words))
    number = options.get("-u") or options.get("--uid") or ""
    uid = int(number) if number.isdecimal() else _next({user.uid for user in draft.users.values()}, system)
    group = next((options[option] for option in group_options if option in options), name)
    gid = int(group) if group.isdecimal() else draft.groups.get(group, uid)
    folder = next((options[option] for option in ("-d", "--home-dir", "--home", "-h") if option in options), "")
    user = User(uid, gid, draft.path(folder or f"/home/{name}"))
    draft.users[name] = user
    draft.groups.setdefault(name, gid)
    if home:
        draft.steps.append(MakeDirectory(shell.line, user.home))
    shell.notes.remark(shell.line, f"user {name!r} exists only where the service runs, with uid {uid}")


def _groupadd(shell: _Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    options, names = _values(words, _USER_VALUES), _operands(words, _USER_VALUES)
    number = options.get("-g") or options.get("--gid") or ""
    taken = set(shell.draft.groups.values())
    system = bool({"-r", "--system", "-S"} & set(words))
    for name in names[-1:]:
        shell.draft.groups[name] = int(number) if number.isdecimal() else _next(taken, system)


def _next(taken: set[int], system: bool) -> int:
    numbers = range(999, 99, -1) if system else range(1000, 60000)
    return next(number for number in numbers if number not in taken)


def _apt(shell: _Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    names = _operands(words, ("-o", "-t", "-c"))
    if names[:1] == ["install"] and names[1:]:
        message = f"the packages {', '.join(names[1:])} are not installed"
        shell.notes.remark(shell.line, message, "the module finds those of this machine, if they are there")


def _rm(shell: _Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    if not all(_CACHES.fullmatch(path) for path in _operands(words, ())):
        raise Refused("")


def _cd(shell: _Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    shell.draft.working_dir = shell.draft.path(words[0] if words else "/root")


def _export(shell: _Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            shell.variables[name] = value


def _activate(shell: _Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    path = posixpath.dirname(posixpath.dirname(shell.draft.path(words[0]))) if words else ""
    if path not in shell.draft.environments:
        raise Refused("")
    shell.variables["VIRTUAL_ENV"] = path
    shell.variables["PATH"] = f"{path}/bin:{shell.variables.get('PATH', '')}"


def _chown(shell: _Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    shell.notes.remark(shell.line, "RUN chown is skipped: the files belong to whoever runs the service")


def _nothing(shell: _Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    """Commands that change nothing that lasts."""


_USER_VALUES = names(
    "-u --uid -g --gid -G --groups --ingroup -d --home-dir --home -h -s --shell -c --comment --gecos -k "
    "--skel -K --key -e --expiredate -f --inactive -p --password -b --base-dir"
)


def _values(words: Sequence[str], valued: frozenset[str]) -> dict[str, str]:
    """The options of `words` that have a value: `-u 1000`, `-mu 1000`, `--uid=1000`."""
    found: dict[str, str] = {}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if word.startswith("--") and equals and name in valued:
            found[name] = value
        elif key := _valued(word, valued):
            found[key] = following
    return found


def _operands(words: Sequence[str], valued: Sequence[str] | frozenset[str]) -> list[str]:
    """The words that are neither options nor their values."""
    found, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = bool(_valued(word, valued))
        else:
            found.append(word)
    return found


def _valued(word: str, valued: Sequence[str] | frozenset[str]) -> str:
    """The option in `word` whose value is the next word: the last letter of `-rmu` stands for `-u`."""
    if word in valued:
        return word
    grouped = re.fullmatch(r"-[A-Za-z]+", word) and f"-{word[-1]}" in valued
    return f"-{word[-1]}" if grouped else ""


_COMMANDS: Mapping[str, Callable[[_Shell, Sequence[str], Mapping[str, str]], None]] = {
    "uv": _uv,
    "virtualenv": lambda shell, words, _: _make_environment(shell, words),
    "mkdir": _mkdir,
    "install": _install_program,
    "chmod": _chmod,
    "chown": _chown,
    "chgrp": _chown,
    "useradd": _useradd,
    "adduser": _adduser,
    "groupadd": _groupadd,
    "addgroup": _groupadd,
    "apt-get": _apt,
    "apt": _apt,
    "rm": _rm,
    "cd": _cd,
    "export": _export,
    "source": _activate,
    ".": _activate,
    "set": _nothing,
    "true": _nothing,
    ":": _nothing,
    "echo": _nothing,
    "ldconfig": _nothing,
    "sync": _nothing,
}
