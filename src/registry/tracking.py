"""MLflow as a trainer sees it: versions found by what they were made of, loaded, tagged, and promoted.

An error of MLflow is one line that says what was asked and what to do.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Generic

from registry.errors import RegistryError
from registry.fingerprint import Fingerprint
from registry.model import M, Registered, RegisteredModel

__all__ = ["MANNERS", "Tracking"]

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


class Tracking(Generic[M]):
    """An MLflow server, with the experiment and the registered model of a project in it.

    Args:
        tracking_uri: Its address; a user and a password may be in it.
        model: What the project's model is.

    Attributes:
        model: The same.
        address: Where the server is, for messages: without user and password.
        client: MLflow's own client of it.
    """

    def __init__(self, tracking_uri: str, model: RegisteredModel[M]) -> None:
        for name, value in MANNERS.items():
            os.environ.setdefault(name, value)
        import mlflow

        self.model, self.address, self._uri = model, _without_password(tracking_uri), tracking_uri
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
            raise RegistryError(f"cannot {what} MLflow at {self.address}: {self._told(error)}") from None

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

        client, model = self.client, self.model
        with self.asking("open the experiment of"):
            found = client.get_experiment_by_name(model.experiment)
            if found is None:
                with suppress(MlflowException):  # another trainer made it at this moment
                    client.create_experiment(model.experiment)
                found = client.get_experiment_by_name(model.experiment)
            if not client.search_registered_models(f"name = '{model.name}'"):
                with suppress(MlflowException):
                    client.create_registered_model(model.name, description=model.about)
        if found is None or found.lifecycle_stage != "active":
            where = f"the experiment {model.experiment} of MLflow at {self.address}"
            raise RegistryError(f"{where} is deleted: restore or purge it")
        return str(found.experiment_id)

    def find(self, fingerprint: Fingerprint) -> Any | None:
        """The newest version that is made of this, if there is one."""
        with self.asking("search the versions of"):
            query = f"name = '{self.model.name}' and {fingerprint.query}"
            found = self.client.search_model_versions(query)
        return max(found, key=lambda version: int(version.version), default=None)

    def champion(self) -> Any | None:
        """The version that is promoted, if one is."""
        from mlflow.exceptions import MlflowException

        with self.asking(f"read the {self.model.alias} of"):
            try:
                return self.client.get_model_version_by_alias(self.model.name, self.model.alias)
            except MlflowException as error:
                if error.error_code in MISSING:
                    return None
                raise

    def load(self, version: Any) -> Registered[M]:
        """A version with what predicts.

        Raises:
            RegistryError: MLflow does not answer. What `load` of the model raises, of files that are damaged, goes on.
        """
        import mlflow.artifacts

        with tempfile.TemporaryDirectory() as folder:
            with self.asking(f"download version {version.version} from"):
                source = f"models:/{self.model.name}/{version.version}"
                path = mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=folder)
            return Registered(
                int(version.version), str(version.run_id), self.model.load(Path(path) / self.model.folder)
            )

    def version(self, number: int) -> Any:
        """A version as it is now."""
        with self.asking("read a version of"):
            return self.client.get_model_version(self.model.name, str(number))

    def metrics(self, version: Any) -> dict[str, float]:
        """The figures of the run that made a version."""
        with self.asking("read the metrics of"):
            return dict(self.client.get_run(version.run_id).data.metrics)

    def tag(self, version: int, tags: Mapping[str, str]) -> None:
        """Write tags on a version."""
        with self.asking("write the tags of a version into"):
            for name, value in tags.items():
                self.client.set_model_version_tag(self.model.name, str(version), name, value)

    def promote(self, version: int) -> None:
        """Make a version the champion."""
        with self.asking("set the alias of a version in"):
            self.client.set_registered_model_alias(self.model.name, self.model.alias, str(version))


def _without_password(address: str) -> str:
    """Where a server is, without what stands before an @."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('/')[0]}"
