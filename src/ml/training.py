"""A whole training: from the manifest of the cleaned listings to a registered version and the decision about it.

Training the same again changes nothing: a version that was made of equal data, parameters and code is found by its
tags.
"""

from __future__ import annotations

from dataclasses import asdict

from catalog import classifier, features, held_out
from catalog.classifier import Classifier
from catalog.features import BLOCKS
from catalog.registered import CLASSIFIER
from job.progress import Progress
from job.storage import Storage
from ml import dataset, fitting
from ml.dataset import Manifest, Split, read_manifest, read_rows, split
from ml.evaluation import evaluate, weighted_f1
from ml.fitting import PARAMETERS, fit
from ml.recording import describe
from ml.settings import Settings
from registry.fingerprint import Fingerprint, config_sha256
from registry.lock import Database
from registry.promotion import Comparison
from registry.recording import Trained
from registry.tracking import Tracking
from registry.training import Work
from registry.training import train as train_once

__all__ = ["configuration", "train"]


def train(settings: Settings, *, progress: Progress) -> str:
    """Train, evaluate, register, and promote if it is better; what became of it, in a line.

    Raises:
        JobError: The data is missing or not enough, or S3 failed.
        RegistryError: MLflow or PostgreSQL failed; no half of a version stays.
    """
    storage = Storage()
    manifest = read_manifest(storage, settings.training_data)
    tracking = Tracking(settings.tracking_uri, CLASSIFIER)

    def prepare() -> Work[Classifier]:
        parted = split(read_rows(storage, manifest.object, manifest.sha256))
        judged = parted.held_out
        comparison = Comparison[Classifier](
            lambda model: weighted_f1(model, judged), "weighted F1", "f1_weighted", len(judged), "held-out listings"
        )
        return Work(comparison, lambda: _train(manifest, parted, tracking.address, progress))

    database = Database(settings.database_uri, "ML_DATABASE_URI", "ml.train")
    fingerprint = Fingerprint(manifest.sha256, configuration())
    outcome = train_once(tracking, database, fingerprint, prepare, progress, force=settings.force)
    return outcome.line(manifest.rows)


def configuration() -> str:
    """What decides about a model beside its data, as a hash: parameters, code, and the libraries' versions."""
    makers = (classifier, dataset, features, fitting, held_out)
    blocks = [asdict(block) for block in BLOCKS]
    return config_sha256(PARAMETERS, blocks, makers=makers, libraries=("numpy", "scikit-learn", "scipy"))


def _train(manifest: Manifest, parted: Split, address: str, progress: Progress) -> Trained[Classifier]:
    """Train and evaluate."""
    unlabelled = f", {parted.unlabelled:,} unlabelled" if parted.unlabelled else ""
    progress(f"{len(parted.training):,} listings to learn from, {len(parted.held_out):,} held out{unlabelled}")
    model, validation = fit(parted.training, progress)
    evaluation = evaluate(model, parted.held_out)
    progress(f"held out: weighted F1 {evaluation.metrics['held_out_f1_weighted']:.3f}; logging to {address}")
    return describe(model, manifest, parted, validation, evaluation)
