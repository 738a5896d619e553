"""What the component's programs are told by their environment."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from catalog.names import MODEL
from drift.folder import Folder
from job.errors import SettingError
from job.settings import text, whole_number
from job.storage import parse

__all__ = ["CATALOG", "DriftSettings", "MonitorSettings", "Project"]

# The project that alerts are about which name none.
CATALOG = "catalog"
DATA, TARGET = "s3://catalog/clean/manifest.json", "s3://catalog/drift"
FRAUD_TARGET = "s3://fraud-detection-2-bucket/drift"
FRAUD_MODEL = "fraud-detector"
MLFLOW, AIRFLOW = "http://mlflow-server:5000", "http://airflow-webserver:8080"
MONGODB = "mongodb://user:password@host:27017/catalog?authSource=admin"
DATABASE = "postgresql://postgres:5432/mlops"
# The token that everybody knows: docker/monitoring/secrets/monitor_token.
PUBLIC_TOKEN = "laptop-only"  # noqa: S105


@dataclass(frozen=True)
class DriftSettings:
    """Where the samples are, and how large they may be. Prints itself without the addresses that hold passwords."""

    tracking_uri: str = field(repr=False)
    mongodb_uri: str = field(repr=False)
    training_data: str
    folder: Folder
    rows: int
    hours: int
    least: int

    @classmethod
    def read(cls) -> DriftSettings:
        """The settings in the environment.

        Raises:
            SettingError: A variable is missing or has a value that cannot be used.
        """
        mongodb = text("MONGODB_URI")
        if not mongodb:
            raise SettingError(f"MONGODB_URI is not set: write MONGODB_URI={MONGODB}")
        least = whole_number("DRIFT_LEAST", 200, least=50)
        made = cls(
            _http("MLFLOW_TRACKING_URI", MLFLOW),
            mongodb,
            text("TRAINING_DATA", DATA),
            Folder.read("DRIFT_TARGET", TARGET),
            whole_number("DRIFT_ROWS", 2000, least=least),
            whole_number("DRIFT_HOURS", 24, least=1),
            least,
        )
        parse(made.training_data)
        return made


@dataclass(frozen=True)
class Project:
    """A project whose drift is watched.

    Attributes:
        name: What its metrics begin with, and its alerts' label `project`.
        model: The name of its model in MLflow.
        folder: Where its drift job writes.
        dag: The DAG that trains its model anew.
        setting: The variable that says so.
    """

    name: str
    model: str
    folder: Folder
    dag: str
    setting: str

    def prefixed(self, what: str) -> str:
        """What messages call a thing of the project; the catalogue's has no other name."""
        return what if self.name == CATALOG else f"{self.name} {what}"

    @classmethod
    def read(cls, name: str, model: str, folder: tuple[str, str], dag: str) -> Project:
        """What the environment says of it: by a variable and its default, and by a variable alone.

        Raises:
            SettingError: The folder is none.
        """
        return cls(name, model, Folder.read(*folder), text(dag, name), dag)


@dataclass(frozen=True)
class MonitorSettings:
    """Where monitor listens, what it looks at, and whom it asks. Prints itself without what holds passwords."""

    host: str
    port: int
    poll: int
    token: str = field(repr=False)
    projects: tuple[Project, ...]
    database_uri: str = field(repr=False)
    airflow_url: str = field(repr=False)
    airflow_user: str
    airflow_password: str = field(repr=False)
    pause: int

    @classmethod
    def read(cls) -> MonitorSettings:
        """The settings in the environment.

        Raises:
            SettingError: A variable is missing or has a value that cannot be used.
        """
        return cls(
            text("MONITOR_HOST", "127.0.0.1"),
            whole_number("MONITOR_PORT", 8001, least=1),
            whole_number("MONITOR_POLL", 15, least=1),
            _token(text("BIND_ADDRESS", "127.0.0.1")),
            (
                Project.read(CATALOG, MODEL, ("DRIFT_TARGET", TARGET), "RETRAIN_DAG"),
                Project.read("fraud", FRAUD_MODEL, ("DRIFT_FRAUD_TARGET", FRAUD_TARGET), "RETRAIN_FRAUD_DAG"),
            ),
            text("ML_DATABASE_URI", DATABASE),
            _http("AIRFLOW_URL", AIRFLOW),
            text("AIRFLOW_USER", "admin"),
            text("AIRFLOW_PASSWORD", "admin"),
            whole_number("RETRAIN_PAUSE", 3600),
        )


def _http(name: str, default: str) -> str:
    """The variable as the address of a server."""
    address = text(name, default).rstrip("/")
    try:
        parts = urlsplit(address)
        if parts.scheme in {"http", "https"} and parts.hostname:
            return address
    except ValueError:  # a bracket that is not closed, in a password say
        pass
    raise SettingError(f"{name} is not the address of a server: write http://host:port")


def _token(bind_address: str) -> str:
    """What Alertmanager has to show; the public one is for a laptop alone.

    Raises:
        SettingError: There is none, its file cannot be read, or it is public where others can reach this program.
    """
    file = text("MONITOR_TOKEN_FILE")
    try:
        token = text("MONITOR_TOKEN") or (Path(file).read_text(encoding="utf-8").strip() if file else "")
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or "it is no text"
        raise SettingError(f"MONITOR_TOKEN_FILE={file} cannot be read: {said}") from None
    if not token:
        raise SettingError("no token: write one to a file and name it by MONITOR_TOKEN_FILE, or set MONITOR_TOKEN")
    if token == PUBLIC_TOKEN and not _is_this_machine(bind_address):
        raise SettingError(
            f"BIND_ADDRESS is {bind_address}, and everybody knows monitor's token: copy docker/monitoring/secrets "
            "to a folder of your own, write your own values, and set MONITORING_SECRETS to it"
        )
    return token


def _is_this_machine(address: str) -> bool:
    try:
        return address == "localhost" or ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:  # a name, of whatever
        return False
