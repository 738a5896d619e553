"""What the command of a service says of it: that it only idles, or that it serves until it is stopped.

Only what is certain is said. A command that is not understood (a pipe, a condition, a program that is not in the
table, an option that makes it end) says nothing.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from itertools import dropwhile, groupby, takewhile
from pathlib import PurePosixPath

from gigogne.core.model import Service

__all__ = ["ends_in_idling", "only_idles", "server_program"]

_SHELLS = frozenset("sh bash ash dash zsh".split())
# Commands that only keep a container alive.
_IDLE = (
    r"(?:\S*/)?(?:tail (?:-n ?\+?\d+ )?(?:-f|-F|--follow) /dev/null|sleep (?:infinity|inf)"
    r"|while (?:true|:) ?; ?do sleep [^\s;]+ ?; ?done|while sleep [^\s;]+ ?; ?do (?:true|:) ?; ?done)[ ;]*"
)
_ENDS_IN_IDLING = re.compile(rf"(?:^|[\s;&])(?:exec )?{_IDLE}$")
_ONLY_IDLES = re.compile(rf"(?:(?:\S*/)?(?:{'|'.join(sorted(_SHELLS))}) -[a-z]*c )?(?:exec )?{_IDLE}")
# Programs that serve until they are stopped, each with the sub-commands that do (none: whatever follows).
_SERVERS: dict[str, tuple[str, ...]] = {
    "airflow": ("api-server", "celery worker", "dag-processor", "scheduler", "standalone", "triggerer", "webserver"),
    "celery": ("beat", "flower", "worker"),
    "dagster": ("dev",),
    "dagster-daemon": ("run",),
    "dagster-webserver": (),
    "daphne": (),
    "dramatiq": (),
    "fastapi": ("dev", "run"),
    "flask": ("run",),
    "gunicorn": (),
    "http.server": (),
    "hypercorn": (),
    "jupyter": ("lab", "notebook", "server"),
    "jupyter-lab": (),
    "jupyter-notebook": (),
    "manage.py": ("runserver",),
    "minio": ("server",),
    "mlflow": ("server", "ui"),
    "nginx": (),
    "prefect": ("server start", "worker start"),
    "ray": ("start",),
    "redis-server": (),
    "rq": ("worker",),
    "streamlit": ("run",),
    "tail": (),
    "tensorboard": (),
    "uvicorn": (),
    "watch": (),
}
# What a program must be told, to stay in the foreground or to go on at all.
_NEEDED = {"nginx": r"daemon off", "ray": r"(^|\s)--block(\s|$)", "tail": r"(^|\s)(-[a-z]*[fF]|--follow)(\s|=|$)"}
# Options with which such a program answers, goes into the background or ends after a while.
_ENDING = frozenset(
    "--help --version --check-config --print-config --daemon --daemonize -D --burst --run-once --num-runs -n --inspect "
    "--limit-max-requests --chgexit --errexit -g -e --pid --test-memory --max-jobs --detach".split()
)
# These letters mean something else there.
_HARMLESS = {"celery": "-n", "flask": "-e", "gunicorn": "-n -e -g", "nginx": "-g", "tail": "-n", "watch": "-n"}
# Options of these programs that stand before the sub-command and take the next word.
_VALUED = frozenset("-A --app -b --broker --workdir --result-backend -e --env-file --profile".split())
_RUNNERS = frozenset("uv poetry pipenv pdm hatch".split())
_RUNNER_FLAGS = frozenset("--frozen --locked --no-sync --no-dev --offline".split())
_WRAPPERS = frozenset("exec nohup env tini dumb-init".split())
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
# With these in a script, its last command may never be reached, or is not what the script ends with.
_UNSURE = re.compile(r"if|for|while|until|case|select|function|test|exit|return|[{}#$]|\[\[?|.*[()|`].*", re.DOTALL)


def ends_in_idling(service: Service) -> bool:
    """Whether the last thing that the command does is to keep the container alive (`start && sleep infinity`)."""
    return _is_open_shell(service) or _ENDS_IN_IDLING.search(_text(service)) is not None


def only_idles(service: Service) -> bool:
    """Whether the command does nothing but to keep the container alive."""
    return _is_open_shell(service) or _ONLY_IDLES.fullmatch(_text(service)) is not None


def server_program(service: Service) -> str | None:
    """The program in which the command ends, when it serves until it is stopped (`uvicorn`, `mlflow server`)."""
    words = list(_last_command((*(service.entrypoint or ()), *(service.command or ()))))
    if not words:
        return None
    program, rest = words[0], words[1:]
    kinds = _SERVERS.get(program)
    text = " ".join(rest)
    if kinds is None or not re.search(_NEEDED.get(program, ""), text):
        return None
    options = {word.partition("=")[0] for word in rest} - set(_HARMLESS.get(program, "").split())
    if options & _ENDING or (program == "rq" and "-b" in options):
        return None
    if not kinds:
        return program
    return next((f"{program} {kind}" for kind in kinds if _is_subcommand(kind.split(), program, rest)), None)


def _is_subcommand(kind: list[str], program: str, words: Sequence[str]) -> bool:
    """Whether the plain words begin with this sub-command."""
    places = [at for at, word in enumerate(words) if word[:1] != "-" and (at == 0 or words[at - 1] not in _VALUED)]
    if [words[at] for at in places[: len(kind)]] != kind:
        return False
    following = places[len(kind) : len(kind) + 1]
    # `jupyter notebook list` ends, `jupyter notebook --ip 0.0.0.0` does not.
    return program != "jupyter" or following != [places[0] + 1]


def _text(service: Service) -> str:
    """The command on one line, as a script would be: `;` in place of line ends."""
    words = (*(service.entrypoint or ()), *(service.command or ()))
    lines = re.sub(r"[;\s]*\n\s*", "; ", " ".join(words).strip())
    return re.sub(r"\bdo;", "do", " ".join(lines.split()))


def _is_open_shell(service: Service) -> bool:
    """Whether it is a shell, or `cat`, that waits for somebody to type: in Docker it stays, because stdin is open."""
    words = (*(service.entrypoint or ()), *(service.command or ()))
    is_open = bool(service.raw.get("tty") or service.raw.get("stdin_open"))
    return is_open and len(words) == 1 and PurePosixPath(words[0]).name in _SHELLS | {"cat"}


def _last_command(words: Sequence[str]) -> tuple[str, ...]:
    """The last command of a command line, the name of its program first; empty where it cannot be told."""
    rest = list(words)
    while rest:
        first, is_python = _program(rest[0]), re.fullmatch(r"python[\d.]*", _program(rest[0]))
        if first in _SHELLS:
            return _last_of_shell(rest[1:])
        if first in _WRAPPERS or _ASSIGNMENT.fullmatch(rest[0]):
            rest = rest[2:] if rest[1:2] == ["--"] else rest[1:]
        elif first in _RUNNERS and rest[1:2] == ["run"]:
            rest = list(dropwhile(_RUNNER_FLAGS.__contains__, rest[2:]))
        elif is_python and rest[1:2] == ["-u"]:
            rest = [rest[0], *rest[2:]]
        elif is_python and rest[1:2] == ["-m"]:
            rest = rest[2:]
        elif is_python and rest[1:] and _program(rest[1]) == "manage.py":
            rest = rest[1:]
        else:
            return (first, *rest[1:])
    return ()


def _program(word: str) -> str:
    """The name of a program that the word names; a script of the user's (`./watch`) keeps its path."""
    path = PurePosixPath(word)
    return path.name if path.parent.name == "bin" or path.name == "manage.py" else word


def _last_of_shell(words: Sequence[str]) -> tuple[str, ...]:
    """The last command of the script of `sh -c script`."""
    for number, word in enumerate(words[:-1]):
        if re.fullmatch(r"-[a-z]*c", word):
            statements = list(_statements(words[number + 1]))
            return _last_command(statements[-1]) if statements else ()
    return ()


def _statements(script: str) -> Iterator[list[str]]:
    """The commands of a plain script, in order; none where it is more than a list of commands."""
    lines = script.replace("\\\n", " ").splitlines()
    text = ";".join(line for line in lines if not line.lstrip().startswith("#"))
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.commenters, lexer.whitespace_split = "", True
    try:
        tokens = list(lexer)
    except ValueError:  # an open quote
        return
    if any(map(_UNSURE.fullmatch, tokens)) or tokens[-1:] == ["&"]:
        return
    for separates, group in groupby(tokens, key=lambda token: token.strip(";&") == ""):
        if not separates:
            yield list(takewhile(lambda token: not token.startswith((">", "<")), group))
