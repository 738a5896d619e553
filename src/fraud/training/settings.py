"""Where the extract, MLflow and the database are, and what an alarm costs: the settings of a training."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from fraud.database import Address
from fraud.objects import Objects
from job.errors import SettingError
from job.settings import flag, text
from job.storage import parse

__all__ = ["Settings"]

TRACKING = "http://mlflow-server:5000"
REVIEW_COST = "10"
MOST_COST = 1_000_000.0


@dataclass(frozen=True)
class Settings:
    """What a training is told. Prints itself without what may hold a password.

    Attributes:
        data: The state of the extract that is learned from.
        tracking_uri: MLflow's.
        database: The PostgreSQL that has the locks between trainers.
        review_cost: What an alarm costs, in the currency of the amounts.
        force: Whether what was trained before on equal data is trained again.
    """

    data: str
    tracking_uri: str = field(repr=False)
    database: Address
    review_cost: float
    force: bool

    @classmethod
    def read(cls) -> Settings:
        """The settings in the environment.

        Raises:
            SettingError: A variable has a value that cannot be used.
        """
        data, tracking = text("TRAIN_FRAUD_DATA") or Objects.read().state, text("MLFLOW_TRACKING_URI", TRACKING)
        parse(data)
        if not data.endswith(".json"):
            raise SettingError(f"TRAIN_FRAUD_DATA={data!r} names no state of an extract: write {Objects.read().state}")
        if not _is_http(tracking):
            raise SettingError("MLFLOW_TRACKING_URI is not the address of an MLflow server: write http://host:port")
        return cls(data, tracking, Address.read(), _cost("FRAUD_REVIEW_COST"), flag("TRAIN_FORCE"))


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
