"""What the scorer is told by its environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fraud.database import Address
from job.settings import number, text
from web.settings import ServerSettings

__all__ = ["Settings"]

TRACKING = "http://mlflow-server:5000"
LANDING_DIR = "/data/landing"
PREFIX, PORT = "SCORER", 8002
# One client is a bank's whole card system.
RATE, BURST = 2_000, 4_000


@dataclass(frozen=True)
class Settings:
    """What the scorer is told. Prints itself without what may hold a secret.

    Attributes:
        server: What every server is told.
        tracking_uri: The MLflow that has the champion.
        database: The PostgreSQL that has the cards' past.
        model_poll: Seconds between two looks at the registry.
        landing: The folder from which logger_sql takes what was scored.
    """

    server: ServerSettings
    tracking_uri: str = field(repr=False)
    database: Address
    model_poll: float
    landing: Path

    @classmethod
    def read(cls) -> Settings:
        """The settings in the environment.

        Raises:
            web.settings.SettingError: A variable has a value that cannot be used.
            JobError: LOGGER_SQL_URI has one.
        """
        return cls(
            server=ServerSettings.read(PREFIX, PORT, rate=RATE, burst=BURST),
            tracking_uri=text("MLFLOW_TRACKING_URI", TRACKING),
            database=Address.read(),
            model_poll=number(f"{PREFIX}_MODEL_POLL", 10, least=0.05),
            landing=Path(text("LANDING_DIR", LANDING_DIR)),
        )
