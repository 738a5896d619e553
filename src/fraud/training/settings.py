"""Where the extract, MLflow and the database are, and what an alarm costs: the settings of a training."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from fraud.job import SettingError, flag, text
from fraud.storage import parse

__all__ = ["VARIABLE", "Settings"]

DATA = "s3://fraud-detection-2-bucket/data/validated.json"
TRACKING = "http://mlflow-server:5000"
VARIABLE = "LOGGER_SQL_URI"
"""What names the PostgreSQL that has the locks between trainers."""
DATABASE = "postgresql://postgres:postgres@postgres:5432/mlops"
# SQLAlchemy's spelling names a driver after the scheme; `postgres://` is what hosting companies hand out.
SCHEME = re.compile(r"postgres(?:ql)?(?:\+\w+)?://", re.IGNORECASE)
REVIEW_COST = "10"
MOST_COST = 1_000_000.0


@dataclass(frozen=True)
class Settings:
    """What a training is told. Prints itself without the addresses that may hold a password."""

    data: str = DATA
    tracking_uri: str = field(default=TRACKING, repr=False)
    database_uri: str = field(default=DATABASE, repr=False)
    review_cost: float = float(REVIEW_COST)
    force: bool = False

    @classmethod
    def read(cls) -> Settings:
        """The settings in the environment.

        Raises:
            SettingError: A variable has a value that cannot be used.
        """
        data, tracking = text("TRAIN_FRAUD_DATA", DATA), text("MLFLOW_TRACKING_URI", TRACKING)
        database = text(VARIABLE, DATABASE)
        parse(data)
        if not data.endswith(".json"):
            raise SettingError(f"TRAIN_FRAUD_DATA={data!r} names no state of an extract: write {DATA}")
        if not _is_http(tracking):
            raise SettingError("MLFLOW_TRACKING_URI is not the address of an MLflow server: write http://host:port")
        if not SCHEME.match(database):
            raise SettingError(f"{VARIABLE} does not begin with postgresql://: write {DATABASE}")
        database = SCHEME.sub("postgresql://", database, count=1)
        return cls(data, tracking, database, _cost("FRAUD_REVIEW_COST"), flag("TRAIN_FORCE"))


def _cost(name: str) -> float:
    value = text(name, REVIEW_COST)
    try:
        cost = float(value)
    except ValueError:
        raise SettingError(f"{name}={value!r} is not a number: write 10, say") from None
    if not 0 < cost <= MOST_COST:  # NaN is neither
        raise SettingError(
            f"{name}={value} cannot be what a review costs: it is more than 0, and {MOST_COST:,.0f} at most"
        )
    return cost


def _is_http(address: str) -> bool:
    try:
        return urlsplit(address).scheme in {"http", "https"}
    except ValueError:  # a bracket that is not closed, in a password say
        return False
