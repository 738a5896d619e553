"""The commands of a RUN that change files."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from gigogne.engines.process.image.recipe import (
    ChangeMode,
    CopyInside,
    MakeDirectory,
    MakeFile,
    MakeLink,
    Remove,
    UnixLines,
)
from gigogne.engines.process.image.shell import Command, Refused, Shell, Support, operands

__all__ = ["FILES", "write_file"]

_ZONES = "/usr/share/zoneinfo/"
_CARRIAGE_RETURN = re.compile(r"s(.)(\\r|\^M|\x0d|\\x0[dD]|\\015)\$?\1\1g?")


def _mkdir(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    for path in operands(words, ("-m", "--mode", "-Z", "-o", "-g")):
        shell.draft.steps.append(MakeDirectory(shell.line, shell.draft.path(path)))


def _install(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    if "-d" not in words and "--directory" not in words:
        raise Refused("", "write COPY --chmod=755 in place of install -m 755")
    _mkdir(shell, words, variables)


def _touch(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    for path in operands(words, ("-d", "-t", "-r")):
        shell.draft.steps.append(MakeFile(shell.line, shell.draft.path(path)))


def _link(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    if not any(re.fullmatch(r"-[a-z]*s[a-z]*|--symbolic", word) for word in words):
        raise Refused("a hard link", "write ln -s, or cp")
    target, *place = operands(words)
    if len(place) > 1:
        raise Refused("several links at once", "write one ln -s for each")
    if target.startswith(_ZONES) and place == ["/etc/localtime"]:
        if "TZ" not in shell.variables:  # which wins over the file
            zone = shell.draft.environment["TZ"] = target.removeprefix(_ZONES)
            shell.notes.remark(shell.line, f"RUN ln … /etc/localtime: the variable TZ is {zone} in its place")
        return
    path = place[0] if place else posixpath.basename(target)
    shell.draft.steps.append(MakeLink(shell.line, target, _place(shell, path)))


def _copy(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    _copy_inside(shell, words, move=False)


def _move(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    _copy_inside(shell, words, move=True)


def _copy_inside(shell: Shell, words: Sequence[str], *, move: bool) -> None:
    paths = operands(words)
    if len(paths) < 2 or any(word in ("-t", "--target-directory") for word in words):
        raise Refused("this form", "write cp FROM… TO")
    sources = tuple(shell.draft.path(path) for path in paths[:-1])
    shell.draft.steps.append(CopyInside(shell.line, sources, _place(shell, paths[-1]), move))


def _place(shell: Shell, word: str) -> str:
    """A path, with a trailing slash when it is surely a directory."""
    path = shell.draft.path(word)
    return path.rstrip("/") + "/" if word.endswith(("/", "/.")) or word == "." else path


def _remove(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    paths = tuple(shell.draft.path(path) for path in operands(words))
    if any(path == "/" or "{" in path for path in paths):
        raise Refused("", "name the paths one by one")
    shell.draft.steps.append(Remove(shell.line, paths))


def _chmod(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    flags = [word for word in words if re.fullmatch(r"-[Rvcf]+|--recursive", word)]
    rest = [word for word in words if word not in flags]
    recursive = any("R" in flag or flag == "--recursive" for flag in flags)
    if len(rest) < 2:
        shell.notes.remark(shell.line, f"RUN chmod {' '.join(words[:1])} … is skipped")
        return
    mode, paths = rest[0], tuple(shell.draft.path(path) for path in rest[1:])
    if re.fullmatch(r"[0-7]{3,4}", mode):
        shell.draft.steps.append(ChangeMode(shell.line, paths, 0o777, int(mode, 8) & 0o777, recursive))
    elif match := re.fullmatch(r"([ugoa]*)\+([rwxX]+)", mode):
        shell.draft.steps.append(ChangeMode(shell.line, paths, 0, _bits(*match.groups()), recursive))
    else:
        shell.notes.remark(shell.line, f"RUN chmod {mode} … is skipped")


def _bits(who: str, what: str) -> int:
    digit = sum({"r": 4, "w": 2, "x": 1, "X": 1}[letter] for letter in set(what))
    return sum(digit << {"u": 6, "g": 3, "o": 0}[letter] for letter in set((who or "a").replace("a", "ugo")))


def _chown(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    shell.notes.remark(shell.line, "RUN chown is skipped: the files belong to whoever runs the service")


def _sed(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    in_place = any(re.fullmatch(r"-[a-zA-Z]*i\S*|--in-place\S*", word) for word in words)
    found = operands(words, ("-e", "--expression"))
    scripts = [following for word, following in pairwise(words) if word in ("-e", "--expression")]
    script, *paths = [*scripts, *found] or [""]
    if paths and all(path.startswith("/etc/") for path in paths):
        shell.notes.remark(shell.line, "RUN sed in /etc is skipped: this machine's system serves")
    elif in_place and len(scripts) < 2 and _CARRIAGE_RETURN.fullmatch(script):
        _unix_lines(shell, paths, variables)
    else:
        raise Refused("", "change the file in the build context, or when the service starts")


def _unix_lines(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    shell.draft.steps.append(UnixLines(shell.line, tuple(shell.draft.path(path) for path in operands(words))))


def _find(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    if not {"*.pyc", "*.pyo", "__pycache__"} & set(words):
        raise Refused("", "name the files: chmod, rm and cp take patterns")


def write_file(shell: Shell, words: Sequence[str], output: str, *, append: bool) -> None:
    """`echo WORDS > output`, or with `append` `>>`.

    Raises:
        Refused: Shells do not agree on what it writes.
    """
    newline = "" if words[:1] == ["-n"] else "\n"
    words = words[1:] if words[:1] in (["-n"], ["-e"]) else words
    text = " ".join(words)
    if "\\" in text:
        raise Refused("a backslash in echo", "write the file with COPY <<EOF")
    content = (text + newline).encode()
    shell.draft.steps.append(MakeFile(shell.line, shell.draft.path(output), content, append))


FILES = (
    Command("mkdir", Support.HONOURED, "the directory is made", _mkdir),
    Command("install", Support.HONOURED, "with `-d` only: the directory is made", _install),
    Command("touch", Support.HONOURED, "an empty file, where there is none", _touch),
    Command("ln", Support.HONOURED, "with `-s` only; `/etc/localtime` becomes the variable `TZ`", _link),
    Command("cp", Support.HONOURED, "of files that the Dockerfile brought or made", _copy),
    Command("mv", Support.HONOURED, "the same", _move),
    Command("rm rmdir", Support.HONOURED, "files and environments that the Dockerfile made go", _remove),
    Command("chmod", Support.HONOURED, "numbers and `+rwx`; other forms are skipped with a note", _chmod),
    Command("dos2unix", Support.HONOURED, "no carriage returns at line ends", _unix_lines),
    Command("find", Support.HONOURED, "of `*.pyc` and `__pycache__` only, which are not here", _find),
    Command("sed", Support.HONOURED, "`sed -i 's/\\r$//'` only; in `/etc` it is skipped with a note", _sed),
    Command("chown chgrp", Support.NOTED, "the files belong to whoever runs the service", _chown),
)
