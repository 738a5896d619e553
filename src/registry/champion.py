"""The promoted model, as who serves it sees it: MLflow's REST API, asked within a time that is bounded.

MLflow's own client would bring an image of hundreds of megabytes, and seconds of imports, for three requests.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Generic
from urllib.parse import unquote

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError, MaxRetryError, NewConnectionError
from urllib3.exceptions import TimeoutError as TooSlowError

from job.errors import SettingError
from registry.errors import RegistryError
from registry.model import M, RegisteredModel

__all__ = ["Registry", "Version"]

SCHEME = "mlflow-artifacts:"
NOT_FOUND = frozenset({"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"})
OK, UNAUTHORIZED, FORBIDDEN = HTTPStatus.OK, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN
CHUNK = 1 << 18
# A model of ours has megabytes.
MOST_BYTES = 1 << 30
# MLflow numbers versions in 32 bits.
MOST_NUMBER = (1 << 31) - 1


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


class Registry(Generic[M]):
    """The MLflow server that has a registered model.

    Args:
        tracking_uri: Its address; a user and a password in it are sent as HTTP asks for.
        model: The registered model.
        patience: Seconds that an answer may take, and a download of a whole model.

    Raises:
        SettingError: That is no address.
    """

    def __init__(self, tracking_uri: str, model: RegisteredModel[M], patience: float = 30.0) -> None:
        try:
            address = urllib3.util.parse_url(tracking_uri)
        except LocationParseError:
            address = urllib3.util.Url()
        if address.scheme not in ("http", "https") or not address.host:
            raise SettingError("MLFLOW_TRACKING_URI is not the address of an MLflow server: write http://host:port")
        self.model, self.address = model, f"{address.scheme}://{address.netloc}"
        self._base, self._patience = f"{self.address}{(address.path or '').rstrip('/')}/api/2.0", patience
        login = urllib3.make_headers(basic_auth=unquote(address.auth)) if address.auth else {}
        timeout = urllib3.Timeout(min(patience, 10.0))
        self._pool = urllib3.PoolManager(headers=login, retries=False, timeout=timeout)

    def close(self) -> None:
        """Close its connections."""
        self._pool.clear()

    def champion(self) -> Version | None:
        """The version that is promoted now; None where none is.

        Raises:
            RegistryError: MLflow does not answer, or not with a version.
        """
        found = self._ask("registered-models/alias", name=self.model.name, alias=self.model.alias)
        if found is None:
            return None
        try:
            version = found["model_version"]
            number = int(version["version"])
            if not 0 < number <= MOST_NUMBER:
                raise ValueError
            return Version(
                number,
                str(version.get("run_id", "")),
                datetime.fromtimestamp(int(version["creation_timestamp"]) / 1000, UTC),
                {str(tag["key"]): str(tag["value"]) for tag in version.get("tags", [])},
            )
        except (KeyError, TypeError, ValueError, OverflowError, OSError):  # no date may be so late, say
            said = f"MLflow at {self.address} answers, but not with a version of {self.model.name}"
            raise RegistryError(said) from None

    def load(self, version: Version) -> M:
        """What predicts, of a version.

        Raises:
            RegistryError: MLflow does not answer, or keeps the model where it does not serve it. What `load` of the
                model raises, of files that are damaged, goes on.
        """
        place = self.model.folder
        with tempfile.TemporaryDirectory() as folder:
            self.download(version, [f"{place}/{name}" for name in self.model.files], Path(folder))
            return self.model.load(Path(folder, place))

    def download(self, version: Version, names: Iterable[str], folder: Path) -> None:
        """Files of a version's package, by their paths in it, to the same paths in a folder.

        Raises:
            RegistryError: MLflow does not answer, or keeps the model where it does not serve it.
        """
        number = str(version.number)
        found = self._ask("model-versions/get-download-uri", name=self.model.name, version=number) or {}
        place = str(found.get("artifact_uri", ""))
        if not place.startswith(SCHEME):
            raise RegistryError(
                f"MLflow at {self.address} does not serve the files of version {number}: "
                "start it with --serve-artifacts"
            )
        path = place.removeprefix(SCHEME).lstrip("/")
        until = time.monotonic() + self._patience
        for name in names:
            with self._answer(f"mlflow-artifacts/artifacts/{path}/{name}") as answer:
                body = self._read(answer, until)
            if answer.status != OK:
                raise self._refused(answer.status, body)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(body)

    def _ask(self, what: str, **query: str) -> dict[str, Any] | None:
        """An answer of MLflow's API; None where there is no such thing."""
        with self._answer(f"mlflow/{what}", **query) as answer:
            body = self._read(answer, time.monotonic() + self._patience)
        if answer.status != OK and _error_code(body) not in NOT_FOUND:
            raise self._refused(answer.status, body)
        try:
            return dict(json.loads(body)) if answer.status == OK else None
        except (ValueError, TypeError, RecursionError):
            raise RegistryError(f"what answers at {self.address} is no MLflow: correct MLFLOW_TRACKING_URI") from None

    @contextmanager
    def _answer(self, path: str, **query: str) -> Iterator[urllib3.BaseHTTPResponse]:
        """An answer whose body is still to be read."""
        answer = None
        try:
            answer = self._pool.request("GET", f"{self._base}/{path}", fields=query, preload_content=False)
            yield answer
        except (HTTPError, OSError) as error:
            cause = error.reason if isinstance(error, MaxRetryError) else error
            slow = isinstance(cause, TooSlowError) and not isinstance(cause, NewConnectionError)
            what = "answers too slowly" if slow else "does not answer"
            raise RegistryError(
                f"MLflow at {self.address} {what}: start it (docker compose up -d mlflow-server)"
            ) from None
        finally:
            if answer is not None:
                answer.close()  # one that was read to its end has given its connection back before

    def _read(self, answer: urllib3.BaseHTTPResponse, until: float) -> bytes:
        """The whole body, in a time and a size that are bounded: a server may send a byte a second."""
        body = bytearray()
        while chunk := answer.read1(CHUNK):
            body += chunk
            if time.monotonic() > until or len(body) > MOST_BYTES:
                raise RegistryError(f"MLflow at {self.address} takes too long to answer")
        return bytes(body)

    def _refused(self, status: int, body: bytes) -> RegistryError:
        if status == FORBIDDEN and b"Invalid Host header" in body:
            return RegistryError(
                f"MLflow at {self.address} knows itself under another name; "
                "add this one to its MLFLOW_SERVER_ALLOWED_HOSTS"
            )
        if status in (UNAUTHORIZED, FORBIDDEN):
            return RegistryError(f"MLflow at {self.address} wants another user or password: see MLFLOW_TRACKING_URI")
        return RegistryError(
            f"MLflow at {self.address} refuses with HTTP {status} ({_error_code(body) or 'no reason'}); "
            "look at its log (docker compose logs mlflow-server)"
        )


def _error_code(body: bytes) -> str:
    try:
        return str(json.loads(body)["error_code"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
