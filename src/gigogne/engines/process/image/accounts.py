"""The commands of a RUN that make users and groups."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from gigogne.engines.process.image.recipe import MakeDirectory, User, names
from gigogne.engines.process.image.shell import Command, Refused, Shell, Support, operands, option_values

__all__ = ["ACCOUNTS"]

_VALUES = names(
    "-u --uid -g --gid -G --groups --ingroup -d --home-dir --home -h -s --shell -c --comment --gecos -k "
    "--skel -K --key -e --expiredate -f --inactive -p --password -b --base-dir"
)


def _useradd(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    short = "".join(word[1:] for word in words if re.fullmatch(r"-[A-Za-z]+", word))
    _add_user(shell, words, ("-g", "--gid"), home="m" in short or "--create-home" in words)


def _adduser(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    home = not {"--no-create-home", "-H", "--system", "-M"} & set(words)
    _add_user(shell, words, ("--gid", "--ingroup", "-G"), home=home)  # -g is busybox's word for the comment


def _add_user(shell: Shell, words: Sequence[str], group_options: Sequence[str], *, home: bool) -> None:
    draft, options, found = shell.draft, option_values(words, _VALUES), operands(words, _VALUES)
    if not found:
        raise Refused("names no user")
    if len(found) > 1:  # `adduser USER GROUP` adds a user to a group
        return
    name, system = found[0], bool({"-r", "--system", "-S"} & set(words))
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


def _groupadd(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    options, found = option_values(words, _VALUES), operands(words, _VALUES)
    number = options.get("-g") or options.get("--gid") or ""
    taken = set(shell.draft.groups.values())
    system = bool({"-r", "--system", "-S"} & set(words))
    for name in found[-1:]:
        shell.draft.groups[name] = int(number) if number.isdecimal() else _next(taken, system)


def _usermod(shell: Shell, words: Sequence[str], variables: Mapping[str, str]) -> None:
    changed = set(option_values(words, _VALUES)) - names("-G --groups -s --shell -c --comment -p --password")
    if changed:
        raise Refused(f"the option {min(changed)}", "make the user as it should be, with RUN useradd")


def _next(taken: set[int], system: bool) -> int:
    numbers = range(999, 99, -1) if system else range(1000, 60000)
    return next(number for number in numbers if number not in taken)


ACCOUNTS = (
    Command("useradd", Support.HONOURED, "the user exists where the service runs, with its uid and home", _useradd),
    Command("adduser", Support.HONOURED, "the same, in Debian's and BusyBox's words", _adduser),
    Command("groupadd addgroup", Support.HONOURED, "the group exists where the service runs", _groupadd),
    Command("usermod", Support.HONOURED, "further groups, shells and passwords change nothing here", _usermod),
    Command("passwd chpasswd visudo", Support.NOTED, "nobody logs in where the service runs"),
)
