"""The promoted model, as who serves it sees it: MLflow's REST API, asked by httpx, within a time that is bounded.

MLflow's own client would bring an image of hundreds of megabytes, and seconds of imports, for three requests.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from catalog.classifier import FILES, Classifier
from catalog.names import ALIAS, FOLDER, MODEL

__all__ = ["Registry", "RegistryError", "Version"]

SCHEME = "mlflow-artifacts:"
NOT_FOUND = frozenset({"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"})
# A model of ours has megabytes.
MOST_BYTES = 1 << 30


class RegistryError(Exception):
    """MLflow did not give what it was asked for: one line that says what, and what to do."""


@dataclass(frozen=True)
class Version:
    """A version of the registered model.

    Attributes:
        number: Its number in the registry.
        run_id: The run that made it.
        created: When it was registered.
        tags: What the trainer wrote on it: `data_sha256`, the decision about it.
    """

    number: int
    run_id: str
    created: datetime
    tags: dict[str, str]


class Registry:
    """The MLflow server that has the registered model.

    Args:
        tracking_uri: Its address; a user and a password in it are sent as HTTP asks for.
        patience: Seconds that one answer may take, and a download of a whole model.
    """

    def __init__(self, tracking_uri: str, patience: float = 30.0) -> None:
        address = httpx.URL(tracking_uri)
        self.address = f"{address.scheme}://{address.netloc.decode()}"
        self._patience = patience
        self._client = httpx.Client(base_url=address, timeout=min(patience, 10.0), trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def champion(self) -> Version | None:
        """The version that is promoted now; None where none is.

        Raises:
            RegistryError: MLflow does not answer, or not with a version.
        """
        found = self._ask("registered-models/alias", name=MODEL, alias=ALIAS)
        if found is None:
            return None
        try:
            version = found["model_version"]
            return Version(
                int(version["version"]),
                str(version.get("run_id", "")),
                datetime.fromtimestamp(int(version["creation_timestamp"]) / 1000, UTC),
                {str(tag["key"]): str(tag["value"]) for tag in version.get("tags", [])},
            )
        except (KeyError, TypeError, ValueError):
            raise RegistryError(f"MLflow at {self.address} answers, but not with a version of {MODEL}") from None

    def load(self, version: Version) -> Classifier:
        """The classifier of a version.

        Raises:
            RegistryError: MLflow does not answer, or keeps the model where it does not serve it.
            ModelError: The files are not those that were saved.
        """
        found = self._ask("model-versions/get-download-uri", name=MODEL, version=str(version.number)) or {}
        place = str(found.get("artifact_uri", ""))
        if not place.startswith(SCHEME):
            raise RegistryError(
                f"MLflow at {self.address} does not serve the files of version {version.number}: "
                "start it with --serve-artifacts"
            )
        path = place.removeprefix(SCHEME).lstrip("/")
        with tempfile.TemporaryDirectory() as folder:
            until = time.monotonic() + self._patience
            for name in FILES:
                source = f"/api/2.0/mlflow-artifacts/artifacts/{path}/{FOLDER}/{name}"
                self._download(source, Path(folder, name), until)
            return Classifier.load(Path(folder))

    def _ask(self, what: str, **query: str) -> dict[str, Any] | None:
        """An answer of MLflow's API; None where there is no such thing."""
        try:
            answer = self._client.get(f"/api/2.0/mlflow/{what}", params=query)
            if answer.is_success:
                return dict(answer.json())
            if _error_code(answer) in NOT_FOUND:
                return None
        except httpx.HTTPError as error:
            raise self._no_answer(error) from None
        except (ValueError, TypeError):
            raise RegistryError(f"what answers at {self.address} is no MLflow: correct MLFLOW_TRACKING_URI") from None
        raise self._refused(answer)

    def _download(self, source: str, target: Path, until: float) -> None:
        """Write a file of a model, in a time and a size that are bounded: a server may send a byte a second."""
        try:
            with self._client.stream("GET", source) as answer, target.open("wb") as file:
                if not answer.is_success:
                    answer.read()
                    raise self._refused(answer)
                for chunk in answer.iter_bytes():
                    file.write(chunk)
                    if time.monotonic() > until or file.tell() > MOST_BYTES:
                        raise RegistryError(f"MLflow at {self.address} takes too long to send {target.name}")
        except httpx.HTTPError as error:
            raise self._no_answer(error) from None

    def _refused(self, answer: httpx.Response) -> RegistryError:
        if answer.status_code == httpx.codes.FORBIDDEN and "Invalid Host header" in answer.text:
            return RegistryError(
                f"MLflow at {self.address} knows itself under another name; "
                "add this one to its MLFLOW_SERVER_ALLOWED_HOSTS"
            )
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return RegistryError(f"MLflow at {self.address} wants another user or password: see MLFLOW_TRACKING_URI")
        return RegistryError(
            f"MLflow at {self.address} refuses with HTTP {answer.status_code} ({_error_code(answer) or 'no reason'}); "
            "look at its log (docker compose logs mlflow-server)"
        )

    def _no_answer(self, error: httpx.HTTPError) -> RegistryError:
        what = "answers too slowly" if isinstance(error, httpx.TimeoutException) else "does not answer"
        return RegistryError(f"MLflow at {self.address} {what}: start it (docker compose up -d mlflow-server)")


def _error_code(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error_code"])
    except (ValueError, KeyError, TypeError):
        return ""
