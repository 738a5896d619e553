"""Who may write: names and Argon2id hashes, a line each, in a file that only its server reads.

`python -m web.users hash NAME` asks for a password and prints the line of it.
"""

from __future__ import annotations

import argparse
import getpass
import re
import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

from job.errors import SettingError

__all__ = ["Users", "hash_password", "main"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
# To put what is longer into one form (NFC) may take a minute, in which nobody else is answered.
SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 256
# OWASP's choice where a login must be cheap in memory: 19 MiB, one thread, 30 ms of a core.
HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, type=Type.ID)
# What a line may cost: a login must not take the server's memory (KiB) or its time.
MOST_MEMORY, MOST_TIME, MOST_LANES = 262_144, 20, 8
HINT = "python -m web.users hash NAME prints a line"


@dataclass(frozen=True)
class Users:
    """Who may write. Nobody, where no file was read."""

    hashes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)

    @classmethod
    def read(cls, path: Path, variable: str) -> Users:
        """The users of a file: `name:hash` lines; empty ones, and those that begin with `#`, say nothing.

        Args:
            path: The file.
            variable: What names it in the environment.

        Raises:
            SettingError: It cannot be read, or a line of it is not of this form: which one, never what it says.
        """
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise SettingError(f"{variable}={path} is no text in UTF-8: {HINT}") from None
        except OSError as error:
            hint = "name a file that the server's user (1000) may read"
            raise SettingError(f"{variable}={path} cannot be read ({error.strerror}): {hint}") from None
        hashes: dict[str, str] = {}
        for number, line in enumerate(map(str.strip, lines), start=1):
            if not line or line.startswith("#"):
                continue
            name, _, hashed = line.partition(":")
            wrong = "a second line of the same user" if name in hashes else _wrong(name, hashed)
            if wrong:
                raise SettingError(f"{path}:{number}: {wrong}: {HINT}")
            hashes[name] = hashed
        if not hashes:
            raise SettingError(f"{variable}={path} has no user: {HINT}")
        return cls(MappingProxyType(hashes))

    def __contains__(self, name: str) -> bool:
        return name in self.hashes

    def matches(self, name: str, password: str) -> bool:
        """Whether this is the user's password. It takes as long where there is no such user."""
        if not self.hashes or len(password) > LONGEST_PASSWORD:
            return False
        hashed = self.hashes.get(name)
        try:
            HASHER.verify(hashed or next(iter(self.hashes.values())), _normal(password))
        except VerificationError:
            return False
        return hashed is not None


def hash_password(password: str) -> str:
    """What a file of users says of a password."""
    return HASHER.hash(_normal(password))


def _normal(password: str) -> str:
    """An é is one character or two, by keyboard and system (RFC 8265)."""
    return unicodedata.normalize("NFC", password)


def _wrong(name: str, hashed: str) -> str:
    """What is wrong with a line; empty where nothing is."""
    if not NAME.fullmatch(name):
        return "it does not begin with a name and a colon"
    try:
        cost = extract_parameters(hashed)
    except InvalidHashError:
        return "what follows the name is no hash of Argon2"
    if cost.type is not Type.ID:
        return "the hash is not of Argon2id"
    if cost.memory_cost > MOST_MEMORY or cost.time_cost > MOST_TIME or cost.parallelism > MOST_LANES:
        return "the hash takes too much to check"
    return ""


def main() -> None:
    """Print the line of a user."""
    parser = argparse.ArgumentParser(prog="python -m web.users", description="Users of a server.")
    command = parser.add_subparsers(required=True, metavar="hash").add_parser(
        "hash", help="ask for a password and print the user's line for the file of users"
    )
    command.add_argument("name", metavar="NAME")
    name: str = parser.parse_args().name
    if not NAME.fullmatch(name):
        sys.exit("error: a name has letters, digits and . _ @ + - alone, 64 of them at most")
    try:
        password = _ask()
    except (EOFError, KeyboardInterrupt):
        sys.exit("\ninterrupted")
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        sys.exit(f"error: a password has {SHORTEST_PASSWORD} characters or more, and {LONGEST_PASSWORD} at most")
    print(f"{name}:{hash_password(password)}")


def _ask() -> str:
    """The password: from a person twice, without echo; from a pipe, its first line."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        sys.exit("error: these are two passwords: type the same one twice")
    return password


if __name__ == "__main__":
    main()
