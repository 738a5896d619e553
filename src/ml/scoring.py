"""`python -m ml.scoring`: the champion's opinion of every product of a Parquet file, as another one on S3.

What goes in decides what comes out, byte for byte: the object is named after the hash of its input and the model, and
a second run finds it and writes nothing. The manifest beside it is written last, so its readers never see half.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from catalog.classifier import Classifier, ModelError
from catalog.names import ALIAS, MODEL
from catalog.registered import CLASSIFIER
from job.errors import JobError
from job.program import run
from job.progress import Progress, log_progress
from job.settings import text
from job.storage import MissingObjectError, Storage, parse
from ml.dataset import Rows, read_manifest, read_rows
from ml.settings import DATA, Settings
from registry.model import Registered
from registry.tracking import Tracking

__all__ = ["main", "parquet", "score", "top"]

TARGET = "s3://catalog/scores"
# The names of the best codes' columns; the first one is the answer.
PLACES = ("predicted", "second", "third")
BATCH = 2000


@dataclass(frozen=True)
class Source:
    """The products to score: where they are, and what they are."""

    object: str
    sha256: str


def main() -> None:
    """Score what the environment names, and say how much."""
    settings, storage, progress = Settings.read(), Storage(), log_progress()
    address, target = text("SCORING_DATA", DATA), text("SCORING_TARGET", TARGET).rstrip("/")
    parse(address)
    parse(f"{target}/manifest.json")
    print(score(settings, storage, address, target, progress))


def score(settings: Settings, storage: Storage, address: str, target: str, progress: Progress) -> str:
    """Score the products at `address` (a manifest of cleaning, or a Parquet file); the line that sums it up.

    Raises:
        JobError: There is no champion or no data, or S3 does not answer; nothing has been written then.
        RegistryError: MLflow does not answer.
    """
    source = _source(storage, address)
    champion = _champion(settings)
    if known := _known(storage, target, source, champion):
        return f"nothing to do: {known} has the scores of {source.object} by version {champion.version}"
    rows = read_rows(storage, source.object, source.sha256)
    progress(f"{len(rows):,} products, {MODEL} version {champion.version}")
    body = parquet(rows, champion, progress)
    where = f"{target}/{_name(source, champion)}"
    storage.put(where, body, "application/vnd.apache.parquet")
    manifest = _manifest(source, champion, where, len(rows), body)
    storage.put(f"{target}/manifest.json", json.dumps(manifest, indent=2).encode(), "application/json")
    return f"{len(rows):,} products scored by version {champion.version} → {where} ({len(body):,} bytes)"


def top(probabilities: npt.NDArray[np.float64], places: int) -> npt.NDArray[np.int64]:
    """The columns of the highest probabilities of each row, the highest first; of equals, the first one."""
    return np.argsort(-probabilities, axis=1, kind="stable")[:, :places]


def _champion(settings: Settings) -> Registered[Classifier]:
    """The model that is promoted now."""
    tracking = Tracking(settings.tracking_uri, CLASSIFIER)
    version = tracking.champion()
    if version is None:
        raise JobError(f"no version of {MODEL} has the alias {ALIAS!r}: run train first")
    try:
        return tracking.load(version)
    except ModelError as error:
        raise JobError(
            f"version {version.version} of {MODEL} is damaged: {error}; run train with TRAIN_FORCE=1"
        ) from None


def _source(storage: Storage, address: str) -> Source:
    """What an address names: a manifest is followed."""
    if address.endswith(".json"):
        manifest = read_manifest(storage, address)
        return Source(manifest.object, manifest.sha256)
    return Source(address, hashlib.sha256(storage.get(address)).hexdigest())


def _name(source: Source, champion: Registered[Classifier]) -> str:
    identity = f"{source.sha256} {champion.run_id} {champion.version}"
    return f"scores-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.parquet"


def _known(storage: Storage, target: str, source: Source, champion: Registered[Classifier]) -> str:
    """The object that has these scores already, whole; empty where there is none."""
    where = f"{target}/{_name(source, champion)}"
    try:
        manifest = json.loads(storage.get(f"{target}/manifest.json"))
        if manifest["model"]["name"] != MODEL:
            raise ValueError(MODEL)
        if manifest["object"] != where:
            return ""
        return where if hashlib.sha256(storage.get(where)).hexdigest() == manifest["sha256"] else ""
    except MissingObjectError:
        return ""
    except (ValueError, KeyError, TypeError):
        # Another program's manifest must not be written over.
        raise JobError(f"{target}/manifest.json is not of scores: name another place by SCORING_TARGET") from None


def parquet(rows: Rows, champion: Registered[Classifier], progress: Progress) -> bytes:
    """The scores as a Parquet file: equal input gives equal bytes."""
    from arro3.core import Array, Table
    from arro3.io import write_parquet

    labels = champion.model.labels
    places = PLACES[: len(labels)]
    probabilities = np.concatenate(list(_probabilities(rows, champion, progress)) or [np.empty((0, len(labels)))])
    best = top(probabilities, len(places))
    columns: dict[str, Any] = {"productid": Array(np.array(rows.productid, dtype=np.int64))}
    for place, name in enumerate(places):
        column = best[:, place]
        chosen = np.take_along_axis(probabilities, column[:, None], axis=1)[:, 0]
        columns[name] = Array(labels[column].astype(np.int32))
        columns["probability" if place == 0 else f"{name}_probability"] = Array(np.ascontiguousarray(chosen))
    columns["model_version"] = Array(np.full(len(rows), champion.version, dtype=np.int32))
    file = io.BytesIO()
    write_parquet(Table(columns), file, compression="zstd(3)")
    return file.getvalue()


def _probabilities(
    rows: Rows, champion: Registered[Classifier], progress: Progress
) -> Iterator[npt.NDArray[np.float64]]:
    texts = rows.texts()
    for begin in range(0, len(texts), BATCH):
        yield champion.model.predict_proba(texts[begin : begin + BATCH])
        progress(f"{min(begin + BATCH, len(texts)):,} of {len(texts):,} scored")


def _manifest(source: Source, champion: Registered[Classifier], where: str, rows: int, body: bytes) -> dict[str, Any]:
    return {
        "rows": rows,
        "sha256": hashlib.sha256(body).hexdigest(),
        "object": where,
        "source": {"object": source.object, "sha256": source.sha256},
        "model": {"name": MODEL, "version": champion.version, "run_id": champion.run_id},
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


if __name__ == "__main__":
    run(main)
