"""What the API is told by its environment."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["SettingError", "Settings"]

TRACKING = "http://mlflow-server:5000"
MONGODB = "mongodb://admin:changeme@mongodb:27017/catalog?authSource=admin"
MONGODB_SCHEME = re.compile(r"mongodb(\+srv)?://")
ORIGIN = re.compile(r"https?://[^/?#\s*@]+")


class SettingError(Exception):
    """An environment variable has a value that cannot be used: one line that says what, and what to do."""


@dataclass(frozen=True)
class Settings:
    """What the API is told. Prints itself without what may hold a secret.

    Attributes:
        host: The address that it listens on.
        port: The port; 0 for one that is free.
        tracking_uri: The MLflow that has the champion.
        mongodb_uri: The MongoDB that keeps predictions and feedback.
        users_file: Who may give feedback; None for nobody.
        token_key: What tokens are signed with; empty for a random one, whose tokens end with the process.
        token_minutes: How long a token is good for.
        rate: Requests a second that a client may make.
        burst: Requests that it may make at once, after a while of none.
        origins: The other sites whose pages may ask.
        model_poll: Seconds between two looks at the registry.
        spool: The folder that keeps what MongoDB does not have yet.
        drain: Seconds between SIGTERM and the end, in which nobody is turned away.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    tracking_uri: str = field(default=TRACKING, repr=False)
    mongodb_uri: str = field(default=MONGODB, repr=False)
    users_file: Path | None = None
    token_key: str = field(default="", repr=False)
    token_minutes: int = 30
    rate: float = 50.0
    burst: int = 200
    origins: tuple[str, ...] = ()
    model_poll: float = 10.0
    spool: Path = Path("/spool")
    drain: float = 2.0

    @classmethod
    def read(cls) -> Settings:
        """The settings in the environment.

        Raises:
            SettingError: A variable has a value that cannot be used.
        """
        users = _text("API_USERS_FILE")
        return cls(
            host=_text("API_HOST", "127.0.0.1"),
            port=int(_number("API_PORT", 8000, least=0, most=65535, whole=True)),
            tracking_uri=_tracking_uri(),
            mongodb_uri=_mongodb_uri(),
            users_file=Path(users) if users else None,
            token_key=_token_key(),
            token_minutes=int(_number("API_TOKEN_MINUTES", 30, least=1, whole=True)),
            rate=_number("API_RATE", 50, least=0.01),
            burst=int(_number("API_BURST", 200, least=1, whole=True)),
            origins=_origins(),
            model_poll=_number("API_MODEL_POLL", 10, least=0.05),
            spool=Path(_text("API_SPOOL", "/spool")),
            drain=_number("API_DRAIN", 2, least=0),
        )


def _text(name: str, default: str = "") -> str:
    """The variable's value without surrounding blanks; an empty one counts as not set."""
    return os.environ.get(name, "").strip() or default


def _number(name: str, default: float, *, least: float, most: float = 1e9, whole: bool = False) -> float:
    """The variable as a number between two others."""
    value = _text(name, str(default))
    kind = "whole number" if whole else "number"
    try:
        number = float(int(value)) if whole else float(value)
    except ValueError:
        raise SettingError(f"{name}={value!r} is not a {kind}") from None
    if not least <= number <= most:
        raise SettingError(f"{name}={value} is not possible: write a {kind} from {least:g} to {most:g}")
    return number


def _tracking_uri() -> str:
    address = _text("MLFLOW_TRACKING_URI", TRACKING)
    try:
        parts = urlsplit(address)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket that is not closed, a port that is none
        good = False
    if not good:
        raise SettingError("MLFLOW_TRACKING_URI is not the address of an MLflow server: write http://host:port")
    return address


def _mongodb_uri() -> str:
    address = _text("MONGODB_URI", MONGODB)
    if not MONGODB_SCHEME.match(address):
        raise SettingError(
            "MONGODB_URI does not begin with mongodb://: write mongodb://user:password@host:port/database"
        )
    return address


def _token_key() -> str:
    key = _text("API_TOKEN_KEY")
    if key and len(key) < 32:
        raise SettingError(
            "API_TOKEN_KEY is too short to be safe: write 32 characters or more "
            '(python -c "import secrets; print(secrets.token_urlsafe(32))"), or none for a random key'
        )
    return key


def _origins() -> tuple[str, ...]:
    """Pinned: no pattern, and no `*`."""
    named = tuple(_text("API_ORIGINS").replace(",", " ").split())
    for each in named:
        if not ORIGIN.fullmatch(each):
            raise SettingError(f"API_ORIGINS has {each!r}: write the origins of pages, https://shop.example.com say")
    return named
