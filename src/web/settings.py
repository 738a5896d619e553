"""What a server is told by its environment: values that are checked, and refused by the variable's name."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from job.errors import SettingError
from job.settings import number, text

__all__ = ["ServerSettings"]

ORIGIN = re.compile(r"https?://[^/?#\s*@]+")


@dataclass(frozen=True)
class ServerSettings:
    """What every server is told, by variables that begin with a word of its own. Prints itself without secrets.

    Attributes:
        prefix: That word: `API`, say.
        host: The address that it listens on.
        port: The port; 0 for one that is free.
        users_file: Who may sign in; None for nobody.
        token_key: What tokens are signed with; empty for a random one, whose tokens end with the process.
        token_minutes: How long a token is good for.
        rate: Requests a second that a client may make.
        burst: Requests that it may make at once, after a while of none.
        origins: The other sites whose pages may ask.
        drain: Seconds between SIGTERM and the end, in which nobody is turned away.
    """

    prefix: str
    host: str
    port: int
    users_file: Path | None = None
    token_key: str = field(default="", repr=False)
    token_minutes: int = 30
    rate: float = 50.0
    burst: int = 200
    origins: tuple[str, ...] = ()
    drain: float = 2.0

    @classmethod
    def read(cls, prefix: str, port: int, *, rate: float = 50, burst: int = 200) -> ServerSettings:
        """The settings in the environment.

        Args:
            prefix: What the variables begin with.
            port: The port, where none is set.
            rate: The rate, where none is set.
            burst: So is this.

        Raises:
            SettingError: A variable has a value that cannot be used.
        """
        users = text(f"{prefix}_USERS_FILE")
        return cls(
            prefix=prefix,
            host=text(f"{prefix}_HOST", "127.0.0.1"),
            port=int(number(f"{prefix}_PORT", port, least=0, most=65535, whole=True)),
            users_file=Path(users) if users else None,
            token_key=_token_key(f"{prefix}_TOKEN_KEY"),
            token_minutes=int(number(f"{prefix}_TOKEN_MINUTES", 30, least=1, whole=True)),
            rate=number(f"{prefix}_RATE", rate, least=0.01),
            burst=int(number(f"{prefix}_BURST", burst, least=1, whole=True)),
            origins=_origins(f"{prefix}_ORIGINS"),
            drain=number(f"{prefix}_DRAIN", 2, least=0),
        )


def _token_key(name: str) -> str:
    key = text(name)
    if key and len(key) < 32:
        raise SettingError(
            f"{name} is too short to be safe: write 32 characters or more "
            '(python -c "import secrets; print(secrets.token_urlsafe(32))"), or none for a random key'
        )
    return key


def _origins(name: str) -> tuple[str, ...]:
    """Pinned: no pattern, and no `*`."""
    named = tuple(text(name).replace(",", " ").split())
    for each in named:
        if not ORIGIN.fullmatch(each):
            raise SettingError(f"{name} has {each!r}: write the origins of pages, https://shop.example.com say")
    return named
