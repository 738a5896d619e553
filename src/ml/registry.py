"""Models in MLflow: found by what they were made of, loaded, logged with all that is known of them, and promoted.

An error of MLflow is one line that says what was asked and what to do.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.classifier import Classifier, ModelError
from catalog.names import ALIAS, EXPERIMENT, FOLDER, MODEL
from ml.job import JobError
from ml.settings import Settings

__all__ = ["Fingerprint", "NoChampionError", "Registered", "Registry", "load_champion"]

ABOUT = "Which of the catalogue's 27 categories a listing belongs to, by its cleaned designation and description."
# MLflow's own patience is minutes long, it would tell its makers that it is used, and it would download from S3 at the
# address that its server knows, which is none of ours.
MANNERS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
MISSING = frozenset({"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"})
# Up to the last @ of the word: a password that is not percent-encoded may have an @ or a / in it.
USER = re.compile(r"//\S*@")


class NoChampionError(JobError):
    """No model was promoted yet."""


@dataclass(frozen=True)
class Fingerprint:
    """What a model is made of: equal ones are the same model."""

    data_sha256: str
    config_sha256: str

    @property
    def tags(self) -> dict[str, str]:
        """How MLflow knows it."""
        return {"data_sha256": self.data_sha256, "config_sha256": self.config_sha256}

    @property
    def query(self) -> str:
        """What finds it in MLflow."""
        return " and ".join(f"tags.{name} = '{value}'" for name, value in self.tags.items())


@dataclass(frozen=True)
class Registered:
    """A version of the registered model, loaded."""

    version: int
    run_id: str
    classifier: Classifier


def load_champion(settings: Settings) -> Registered:
    """The model that is promoted now.

    Raises:
        NoChampionError: There is none.
        JobError: MLflow does not answer, or the model is damaged.
    """
    registry = Registry(settings.tracking_uri)
    version = registry.champion()
    if version is None:
        raise NoChampionError(f"no version of {MODEL} has the alias {ALIAS!r}: run train first")
    try:
        return registry.load(version)
    except ModelError as error:
        raise JobError(
            f"version {version.version} of {MODEL} is damaged: {error}; run train with TRAIN_FORCE=1"
        ) from None


class Registry:
    """The MLflow server of the settings, with the experiment and the registered model in it."""

    def __init__(self, tracking_uri: str) -> None:
        for name, value in MANNERS.items():
            os.environ.setdefault(name, value)
        import mlflow

        self._uri, self.address = tracking_uri, _without_password(tracking_uri)
        # Downloads by the name of a model take the address from here alone.
        mlflow.set_tracking_uri(tracking_uri)
        mlflow.set_registry_uri(tracking_uri)
        self.client: Any = mlflow.MlflowClient(tracking_uri, tracking_uri)

    @contextmanager
    def asking(self, what: str) -> Iterator[None]:
        """Turn an error of MLflow into one line that says what it was asked."""
        from mlflow.exceptions import MlflowException
        from requests.exceptions import RequestException

        try:
            yield
        except (MlflowException, RequestException, OSError) as error:
            raise JobError(f"cannot {what} MLflow at {self.address}: {self._told(error)}") from None

    def _told(self, error: Exception) -> str:
        # The libraries quote an address that they cannot read; one with a blank in it is more than a word.
        said = USER.sub("//", str(error).replace(self._uri, self.address))
        if "Invalid Host header" in said:
            return "it knows itself under another name; add this one to its MLFLOW_SERVER_ALLOWED_HOSTS"
        if any(
            sign in said for sign in ("Max retries exceeded", "Connection refused", "Connection aborted", "timed out")
        ):
            return "no answer; is it running (docker compose up -d mlflow-server), and is MLFLOW_TRACKING_URI right?"
        return f"it says {said[:300]}; look at its log (docker compose logs mlflow-server)"

    def experiment(self) -> str:
        """The id of the experiment, which is made if it is missing; so is the registered model."""
        from mlflow.exceptions import MlflowException

        client = self.client
        with self.asking("open the experiment of"):
            found = client.get_experiment_by_name(EXPERIMENT)
            if found is None:
                with suppress(MlflowException):  # another trainer made it at this moment
                    client.create_experiment(EXPERIMENT)
                found = client.get_experiment_by_name(EXPERIMENT)
            if not client.search_registered_models(f"name = '{MODEL}'"):
                with suppress(MlflowException):
                    client.create_registered_model(MODEL, description=ABOUT)
        if found is None or found.lifecycle_stage != "active":
            raise JobError(f"the experiment {EXPERIMENT} of MLflow at {self.address} is deleted: restore or purge it")
        return str(found.experiment_id)

    def find(self, fingerprint: Fingerprint) -> Any | None:
        """The newest version that is made of this, if there is one."""
        with self.asking("search the versions of"):
            found = self.client.search_model_versions(f"name = '{MODEL}' and {fingerprint.query}")
        return max(found, key=lambda version: int(version.version), default=None)

    def champion(self) -> Any | None:
        """The version that is promoted, if one is."""
        from mlflow.exceptions import MlflowException

        with self.asking(f"read the {ALIAS} of"):
            try:
                return self.client.get_model_version_by_alias(MODEL, ALIAS)
            except MlflowException as error:
                if error.error_code in MISSING:
                    return None
                raise

    def load(self, version: Any) -> Registered:
        """A version with its classifier.

        Raises:
            ModelError: Its files are not those that were saved.
            JobError: MLflow does not answer.
        """
        import mlflow.artifacts

        with tempfile.TemporaryDirectory() as folder:
            with self.asking(f"download version {version.version} from"):
                source = f"models:/{MODEL}/{version.version}"
                path = mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=folder)
            return Registered(int(version.version), str(version.run_id), Classifier.load(Path(path) / FOLDER))

    def version(self, number: int) -> Any:
        """A version as it is now."""
        with self.asking("read a version of"):
            return self.client.get_model_version(MODEL, str(number))

    def metrics(self, version: Any) -> dict[str, float]:
        """The figures of the run that made a version."""
        with self.asking("read the metrics of"):
            return dict(self.client.get_run(version.run_id).data.metrics)

    def tag(self, version: int, tags: Mapping[str, str]) -> None:
        """Write tags on a version."""
        with self.asking("write the tags of a version into"):
            for name, value in tags.items():
                self.client.set_model_version_tag(MODEL, str(version), name, value)

    def promote(self, version: int) -> None:
        """Make a version the champion."""
        with self.asking("set the alias of a version in"):
            self.client.set_registered_model_alias(MODEL, ALIAS, str(version))


def _without_password(address: str) -> str:
    """Where a server is, without what stands before an @."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('/')[0]}"
