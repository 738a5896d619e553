"""What the API is told by its environment."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from job.errors import SettingError
from job.settings import number, text
from web.settings import ServerSettings

__all__ = ["Settings"]

TRACKING = "http://mlflow-server:5000"
MONGODB = "mongodb://admin:changeme@mongodb:27017/catalog?authSource=admin"
MONGODB_SCHEME = re.compile(r"mongodb(\+srv)?://")


@dataclass(frozen=True)
class Settings:
    """What the API is told. Prints itself without what may hold a secret.

    Attributes:
        server: What every server is told.
        tracking_uri: The MLflow that has the champion.
        mongodb_uri: The MongoDB that keeps predictions and feedback.
        model_poll: Seconds between two looks at the registry.
        spool: The folder that keeps what MongoDB does not have yet.
    """

    server: ServerSettings
    tracking_uri: str = field(default=TRACKING, repr=False)
    mongodb_uri: str = field(default=MONGODB, repr=False)
    model_poll: float = 10.0
    spool: Path = Path("/spool")

    @classmethod
    def read(cls) -> Settings:
        """The settings in the environment.

        Raises:
            SettingError: A variable has a value that cannot be used.
        """
        return cls(
            server=ServerSettings.read("API", port=8000),
            tracking_uri=_tracking_uri(),
            mongodb_uri=_mongodb_uri(),
            model_poll=number("API_MODEL_POLL", 10, least=0.05),
            spool=Path(text("API_SPOOL", "/spool")),
        )


def _tracking_uri() -> str:
    address = text("MLFLOW_TRACKING_URI", TRACKING)
    try:
        parts = urlsplit(address)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket that is not closed, a port that is none
        good = False
    if not good:
        raise SettingError("MLFLOW_TRACKING_URI is not the address of an MLflow server: write http://host:port")
    return address


def _mongodb_uri() -> str:
    address = text("MONGODB_URI", MONGODB)
    if not MONGODB_SCHEME.match(address):
        raise SettingError(
            "MONGODB_URI does not begin with mongodb://: write mongodb://user:password@host:port/database"
        )
    return address
