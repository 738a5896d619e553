"""What the drift job is told by its environment."""

from __future__ import annotations

from dataclasses import dataclass, field

from fraud.database import Address
from job.settings import text, whole_number
from job.storage import parse

__all__ = ["Settings", "latest", "looked"]

TARGET, MLFLOW = "s3://fraud-detection-2-bucket/drift", "http://mlflow-server:5000"


@dataclass(frozen=True)
class Settings:
    """Where the samples are, and how large they have to be. Prints itself without the addresses that hold passwords.

    Attributes:
        tracking_uri: The MLflow that has the champion.
        database: The PostgreSQL that has the transactions.
        target: The folder on S3 for verdicts and reports.
        least: Fewer cards, in either sample, give no verdict.
    """

    tracking_uri: str = field(repr=False)
    database: Address
    target: str
    least: int

    @classmethod
    def read(cls) -> Settings:
        """The settings in the environment.

        Raises:
            SettingError: A variable is missing or has a value that cannot be used.
        """
        made = cls(
            text("MLFLOW_TRACKING_URI", MLFLOW),
            Address.read(),
            text("DRIFT_FRAUD_TARGET", TARGET).rstrip("/"),
            whole_number("DRIFT_FRAUD_LEAST", 200, least=50),
        )
        parse(latest(made.target))
        return made


def latest(target: str) -> str:
    """The address of the newest verdict under a folder of S3."""
    return f"{target}/latest.json"


def looked(target: str) -> str:
    """The address of what says when somebody looked last, with or without a verdict."""
    return f"{target}/looked.json"
