"""A command line of Docker Compose, taken apart: its own options, the command, and the services that it names."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gigogne.compose import LoadOptions

__all__ = ["CREATING", "Invocation", "Word", "words_of"]

# The commands that create containers, with their options that take a value.
CREATING = {
    "up": ("--attach", "--exit-code-from", "--no-attach", "--pull", "--scale", "-t", "--timeout", "--wait-timeout"),
    "create": ("--pull", "--scale"),
    "scale": (),
    "watch": (),
    "run": (
        *("--cap-add", "--cap-drop", "--entrypoint", "-e", "--env", "--env-from-file", "-l", "--label", "--name"),
        *("-p", "--publish", "--pull", "-u", "--user", "-v", "--volume", "-w", "--workdir"),
    ),
}
# Compose's own options that take a value. Those of `docker` come before `compose`.
_FILE, _NAME, _DIRECTORY = ("-f", "--file"), ("-p", "--project-name"), ("--project-directory", "--workdir")
_ENV_FILE, _PROFILE, _OTHER = ("--env-file",), ("--profile",), ("--ansi", "--progress", "--parallel")
# The words of `docker` that name a daemon, and the variables that mean the same.
_DAEMON = {"-c": "DOCKER_CONTEXT", "--context": "DOCKER_CONTEXT", "-H": "DOCKER_HOST", "--host": "DOCKER_HOST"}
_VOLUME = ("-v", "--volume")


@dataclass(frozen=True, slots=True)
class Word:
    """An option with its value, as typed in one word or two; or a word that is no option, which has no `option`."""

    typed: tuple[str, ...]
    option: str = ""
    value: str = ""


def words_of(words: Sequence[str], valued: Collection[str]) -> Iterator[Word]:
    """The words, each option of `valued` together with its value. Behind `--` nothing is an option."""
    rest = iter(words)
    for word in rest:
        if word == "--":
            yield Word((word,), word)
            yield from (Word((each,)) for each in rest)
        elif not word.startswith("-") or word == "-":
            yield Word((word,))
        elif word.startswith("--"):
            name, sign, value = word.partition("=")
            if name in valued and not sign:
                value = next(rest, "")
                yield Word((word, value), name, value)
            else:
                yield Word((word,), name, value)
        else:
            yield _short(word, rest, valued)


def _short(word: str, rest: Iterator[str], valued: Collection[str]) -> Word:
    """Short options in one word: the last may take what is left of the word, or the next one."""
    for index, letter in enumerate(word[1:], 1):
        if f"-{letter}" in valued:
            if value := word[index + 1 :].removeprefix("="):
                return Word((word,), f"-{letter}", value)
            value = next(rest, "")
            return Word((word, value), f"-{letter}", value)
    return Word((word,), word)


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command line, taken apart.

    Attributes:
        before: The words of `docker` itself, with `compose`; none for `docker-compose`.
        options: Compose's own options.
        command: The command; empty where there is none.
        rest: What follows it.
    """

    before: tuple[str, ...]
    options: tuple[Word, ...]
    command: str
    rest: tuple[str, ...]

    @classmethod
    def read(cls, words: Sequence[str], *, by_docker: bool) -> Invocation:
        """Take the words apart; `by_docker` says that they are those of `docker`, which calls its plug-in."""
        start = words.index("compose") + 1 if by_docker and "compose" in words else 0
        options: list[Word] = []
        for word in words_of(words[start:], (*_FILE, *_NAME, *_DIRECTORY, *_ENV_FILE, *_PROFILE, *_OTHER)):
            if not word.option:
                rest = words[start + sum(len(option.typed) for option in options) + 1 :]
                return cls(tuple(words[:start]), tuple(options), word.typed[0], tuple(rest))
            options.append(word)
        return cls(tuple(words[:start]), tuple(options), "", ())

    @property
    def creates(self) -> bool:
        """Whether it creates containers, and does not just say how that would be done, or complete what is typed."""
        asks = {"-h", "--help"} & {word.option for word in (*self.options, *self._arguments())}
        return self.command in CREATING and not asks and not any(word.startswith("__") for word in self.before)

    def targets(self) -> tuple[str, ...]:
        """The services that it names; none means all."""
        named = (word.typed[0] for word in self._arguments() if not word.option)
        return tuple(name.partition("=")[0] if self.command == "scale" else name for name in named)

    @property
    def awaited(self) -> str:
        """The service of `up --exit-code-from`, where nothing else says what to start and when to stop."""
        if self.command != "up" or self.targets():
            return ""
        given = {word.option: word.value for word in self._arguments()}
        explicit = {"--abort-on-container-exit", "--abort-on-container-failure", "--attach"} & given.keys()
        return "" if explicit else given.get("--exit-code-from", "")

    def load_options(self) -> LoadOptions:
        """The options by which the project is found."""
        return LoadOptions(
            files=self._values(_FILE),
            project_name=next(reversed(self._values(_NAME)), None),
            directory=next(reversed(self._values(_DIRECTORY)), None),
            env_files=self._values(_ENV_FILE),
            profiles=self._values(_PROFILE),
        )

    def daemon(self) -> dict[str, str]:
        """The variables that mean the daemon which the words of `docker` name."""
        given = {word.option: word.value for word in words_of(self.before, tuple(_DAEMON))}
        return {_DAEMON[option]: value for option, value in given.items() if option in _DAEMON}

    def binds(self) -> list[dict[str, Any]]:
        """What `run --volume` mounts from this disk, as Compose prints it in a service's `volumes:`."""
        given = (word.value for word in self._arguments() if self.command == "run" and word.option in _VOLUME)
        return [bind for value in given if (bind := _bind(value))]

    def words(self) -> list[str]:
        """The command line."""
        return [*self.before, *(text for word in self.options for text in word.typed), self.command, *self.rest]

    def settled(self, options: Sequence[str]) -> list[str]:
        """The same command line with these options in place of those that say which project it is, and no `binds`."""
        said = (*_FILE, *_NAME, *_DIRECTORY)
        kept = [text for word in self.options if word.option not in said for text in word.typed]
        arguments = self._arguments()
        behind = self.rest[sum(len(word.typed) for word in arguments) :]
        mine = [w for w in arguments if not (self.command == "run" and w.option in _VOLUME and _bind(w.value))]
        return [*self.before, *kept, *options, self.command, *(t for word in mine for t in word.typed), *behind]

    def _arguments(self) -> list[Word]:
        """Its options, and what it names; of `run`, not the words of the service's own command."""
        found: list[Word] = []
        for word in words_of(self.rest, CREATING.get(self.command, ())):
            found.append(word)
            if self.command == "run" and not word.option:
                break
        return found

    def _values(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(word.value for word in self.options if word.option in names)


def _bind(text: str) -> dict[str, Any] | None:
    """What `SOURCE:TARGET[:OPTIONS]` mounts; None where the source is no path, but a volume's name."""
    source, _, rest = text.partition(":")
    target, _, options = rest.partition(":")
    if not target or not source.startswith((".", "/", "~")):
        return None
    path = os.path.normpath(Path(source).expanduser().absolute())
    read_only = {"read_only": True} if "ro" in options.split(",") else {}
    return {"type": "bind", "source": path.replace("$", "$$"), "target": target.replace("$", "$$"), **read_only}
