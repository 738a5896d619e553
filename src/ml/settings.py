"""Where the data, MLflow and the database are: the settings of a training."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from job.errors import SettingError
from job.settings import flag, text

__all__ = ["Settings"]

DATA = "s3://catalog/clean/manifest.json"
TRACKING = "http://mlflow-server:5000"
DATABASE = "postgresql://postgres:postgres@postgres:5432/mlops"
# SQLAlchemy's spelling names a driver after the scheme; `postgres://` is what hosting companies hand out.
SCHEME = re.compile(r"postgres(?:ql)?(?:\+\w+)?://", re.IGNORECASE)


@dataclass(frozen=True)
class Settings:
    """What a training is told. Prints itself without the addresses that may hold a password."""

    training_data: str = DATA
    tracking_uri: str = field(default=TRACKING, repr=False)
    database_uri: str = field(default=DATABASE, repr=False)
    force: bool = False

    @classmethod
    def read(cls) -> Settings:
        """The settings in the environment.

        Raises:
            SettingError: A variable has a value that cannot be used.
        """
        tracking, database = text("MLFLOW_TRACKING_URI", TRACKING), text("ML_DATABASE_URI", DATABASE)
        if not _is_http(tracking):
            raise SettingError("MLFLOW_TRACKING_URI is not the address of an MLflow server: write http://host:port")
        if not SCHEME.match(database):
            raise SettingError(f"ML_DATABASE_URI does not begin with postgresql://: write {DATABASE}")
        database = SCHEME.sub("postgresql://", database, count=1)
        return cls(text("TRAINING_DATA", DATA), tracking, database, flag("TRAIN_FORCE"))


def _is_http(address: str) -> bool:
    try:
        return urlsplit(address).scheme in {"http", "https"}
    except ValueError:  # a bracket that is not closed, in a password say
        return False
