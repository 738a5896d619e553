"""A whole training: from the manifest of the cleaned listings to a registered version and the decision about it.

Training the same again changes nothing: a version that was made of equal data, parameters and code is found by its
tags.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from catalog import classifier, features, held_out
from catalog.classifier import ModelError
from catalog.features import BLOCKS
from catalog.names import MODEL
from ml import dataset, fitting
from ml.dataset import Manifest, Split, read_manifest, read_rows, split
from ml.evaluation import evaluate
from ml.fitting import PARAMETERS, fit
from ml.job import Progress
from ml.lock import locked
from ml.promotion import DECISION, WHY, decide
from ml.recording import Trained, record, remove_unfinished
from ml.registry import Fingerprint, Registered, Registry
from ml.settings import Settings
from ml.storage import Storage

__all__ = ["Outcome", "train"]


@dataclass(frozen=True)
class Outcome:
    """What became of a training."""

    run_id: str
    version: int
    metrics: Mapping[str, float]
    promoted: bool
    why: str
    # Whether there was such a version already, so that nothing was trained.
    existing: bool
    manifest: Manifest

    def line(self) -> str:
        """What happened, in one line."""
        if self.existing:
            made = "was trained before on equal data, parameters and code"
            place = "promoted then" if self.promoted else "not promoted then"
        else:
            made, place = "registered", "champion" if self.promoted else "not promoted"
        return f"{MODEL} version {self.version} {made} | {self.manifest.rows:,} rows | {place}: {self.why}"


def train(settings: Settings, *, progress: Progress) -> Outcome:
    """Train, evaluate, register, and promote if it is better.

    Raises:
        JobError: The data is missing or not enough, or S3, MLflow or PostgreSQL failed; no half of a version stays.
    """
    began = time.time()
    storage = Storage()
    manifest = read_manifest(storage, settings.training_data)
    fingerprint = Fingerprint(manifest.sha256, config_sha256())
    registry = Registry(settings.tracking_uri)
    registry.experiment()
    # Two trainers of the same model take turns, so that the second one finds the version of the first.
    name = f"training of {MODEL} {fingerprint.data_sha256} {fingerprint.config_sha256}"
    with locked(settings.database_uri, name, progress) as check:
        found = None if settings.force else registry.find(fingerprint)
        if found is not None and DECISION in found.tags:
            return _outcome(registry, found, manifest, existing=True)
        parted = split(read_rows(storage, manifest.object, manifest.sha256))
        # Whoever registered it ended before the decision.
        candidate = None if found is None else _load(registry, found, progress)
        if candidate is None:
            removed = remove_unfinished(registry, fingerprint)
            if removed:
                progress(f"removed {removed} unfinished runs of trainers that were killed")
            trained = _train(registry, manifest, parted, began, progress)
            version = record(registry, trained, fingerprint, check)
            candidate = Registered(int(version.version), str(version.run_id), trained.classifier)
        decide(settings, registry, candidate, parted.held_out, progress)
        return _outcome(registry, registry.version(candidate.version), manifest, existing=False)


def config_sha256() -> str:
    """What decides about a model beside its data: parameters, the code that makes it, and the libraries' versions."""
    makers = (classifier, dataset, features, fitting, held_out)
    code = [Path(str(module.__file__)).read_text(encoding="utf-8") for module in makers]
    libraries = {name: installed(name) for name in ("numpy", "scikit-learn", "scipy")}
    parts = [PARAMETERS, [asdict(block) for block in BLOCKS], libraries, code]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _load(registry: Registry, version: Any, progress: Progress) -> Registered | None:
    """A version that was found; None for a damaged one, in whose place another is made."""
    try:
        return registry.load(version)
    except ModelError as error:
        progress(f"version {version.version} of {MODEL} is damaged: {error}; training it anew")
        return None


def _train(registry: Registry, manifest: Manifest, parted: Split, began: float, progress: Progress) -> Trained:
    """Train and evaluate."""
    unlabelled = f", {parted.unlabelled:,} unlabelled" if parted.unlabelled else ""
    progress(f"{len(parted.training):,} listings to learn from, {len(parted.held_out):,} held out{unlabelled}")
    model, validation = fit(parted.training, progress)
    evaluation = evaluate(model, parted.held_out)
    progress(f"held out: weighted F1 {evaluation.metrics['held_out_f1_weighted']:.3f}; logging to {registry.address}")
    return Trained(model, manifest, parted, validation, evaluation, began)


def _outcome(registry: Registry, version: Any, manifest: Manifest, *, existing: bool) -> Outcome:
    """What MLflow knows of a version."""
    tags = version.tags
    metrics = registry.metrics(version)
    promoted = tags.get(DECISION) == "promoted"
    return Outcome(version.run_id, int(version.version), metrics, promoted, tags.get(WHY, ""), existing, manifest)
