"""What the drift job is told by its environment."""

from __future__ import annotations

from dataclasses import dataclass, field

from drift.folder import Folder
from fraud.database import Address
from job.settings import text, whole_number

__all__ = ["Settings"]

TARGET, MLFLOW = "s3://fraud-detection-2-bucket/drift", "http://mlflow-server:5000"


@dataclass(frozen=True)
class Settings:
    """Where the samples are, and how large they have to be. Prints itself without the addresses that hold passwords.

    Attributes:
        tracking_uri: The MLflow that has the champion.
        database: The PostgreSQL that has the transactions.
        folder: Where verdicts and reports go.
        least: Fewer cards, in either sample, give no verdict.
    """

    tracking_uri: str = field(repr=False)
    database: Address
    folder: Folder
    least: int

    @classmethod
    def read(cls) -> Settings:
        """The settings in the environment.

        Raises:
            SettingError: A variable is missing or has a value that cannot be used.
        """
        return cls(
            text("MLFLOW_TRACKING_URI", MLFLOW),
            Address.read(),
            Folder.read("DRIFT_FRAUD_TARGET", TARGET),
            whole_number("DRIFT_FRAUD_LEAST", 200, least=50),
        )
