"""A training in MLflow: a run with parameters, metrics and pictures, its model, and then the version that points at it.

The version comes last: whoever finds one finds its figures too. What a killed trainer left before that is a run without
a version; the next trainer of the same model removes it.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.classifier import Classifier
from catalog.names import MODEL
from ml.dataset import Manifest, Split
from ml.evaluation import Evaluation
from ml.fitting import PARAMETERS, CrossValidation
from ml.package import write_package
from ml.registry import Fingerprint, Registry
from ml.report import write_report

__all__ = ["Trained", "record", "remove_unfinished"]


@dataclass(frozen=True)
class Trained:
    """A classifier, and all that is known of it."""

    classifier: Classifier
    manifest: Manifest
    split: Split
    validation: CrossValidation
    evaluation: Evaluation
    # When its training began, in seconds since 1970.
    began: float

    @property
    def metrics(self) -> dict[str, float]:
        """Its figures, by the names that MLflow shows."""
        cross_validated = {"cv_f1_weighted_mean": self.validation.mean, "cv_f1_weighted_std": self.validation.spread}
        return {**self.evaluation.metrics, **cross_validated, "training_seconds": time.time() - self.began}


def record(registry: Registry, trained: Trained, fingerprint: Fingerprint, check: Callable[[], None]) -> Any:
    """Log a training and register its model; return the new version. On any failure nothing of it stays.

    Raises:
        JobError: MLflow failed; or `check` did, which looks whether the model's lock is held still.
    """
    check()
    experiment, client = registry.experiment(), registry.client
    f1 = f"{trained.evaluation.metrics['held_out_f1_weighted']:.6f}"
    with registry.asking("log a run to"), _run(client, experiment, trained, fingerprint) as run_id:
        model = _log_model(client, experiment, run_id, trained, fingerprint)
        _log_figures(client, run_id, model, trained)
        check()
        version = client.create_model_version(
            MODEL,
            f"models:/{model.model_id}",
            run_id,
            tags={**fingerprint.tags, "held_out_f1_weighted": f1},
            model_id=model.model_id,
            await_creation_for=0,
        )
        # Last: of a run that is finished, nothing is left to be removed.
        client.set_terminated(run_id)
        return version


def remove_unfinished(registry: Registry, fingerprint: Fingerprint) -> int:
    """Remove what killed trainers of this model left; return how many runs. Only for who holds the model's lock.

    A finished run without a version is none of those: a person has deleted its version, and may want its figures.
    """
    experiment = registry.experiment()
    with registry.asking("search the runs of"):
        found = registry.client.search_runs([experiment], fingerprint.query)
        runs = [str(run.info.run_id) for run in found if run.info.status != "FINISHED"]
        left = [run_id for run_id in runs if not _versions(registry.client, run_id)]
        for run_id in left:
            _remove(registry.client, run_id, experiment)
    return len(left)


@contextmanager
def _run(client: Any, experiment: str, trained: Trained, fingerprint: Fingerprint) -> Iterator[str]:
    """A run that is removed, with its model, if anything comes between: an error, a signal."""
    began = int(trained.began * 1000)
    name = f"{trained.manifest.sha256[:8]}-{fingerprint.config_sha256[:8]}"
    run_id = ""
    try:
        run_id = str(client.create_run(experiment, start_time=began, tags=fingerprint.tags, run_name=name).info.run_id)
        yield run_id
    except BaseException:
        with suppress(Exception):
            _remove(client, run_id, experiment)
        raise


def _remove(client: Any, run_id: str, experiment: str) -> None:
    """Remove a run with its model, and with the version, if the answer that told of it was lost."""
    if run_id:
        for version in _versions(client, run_id):
            client.delete_model_version(MODEL, version.version)
        for model in client.search_logged_models([experiment], f"source_run_id = '{run_id}'"):
            client.delete_logged_model(model.model_id)
        client.delete_run(run_id)


def _versions(client: Any, run_id: str) -> list[Any]:
    return list(client.search_model_versions(f"name = '{MODEL}' and run_id = '{run_id}'"))


def _log_model(client: Any, experiment: str, run_id: str, trained: Trained, fingerprint: Fingerprint) -> Any:
    """Upload the model as one that MLflow loads by itself."""
    model = client.create_logged_model(experiment, MODEL, run_id, tags=fingerprint.tags, model_type="classifier")
    with tempfile.TemporaryDirectory() as folder:
        example = trained.split.training.texts[0]
        write_package(Path(folder), trained.classifier, model_id=model.model_id, run_id=run_id, example=example)
        client.log_model_artifacts(model.model_id, folder)
    return client.finalize_logged_model(model.model_id, "READY")


def _log_figures(client: Any, run_id: str, model: Any, trained: Trained) -> None:
    """Log data, parameters, metrics, pictures and the card."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param

    split, manifest = trained.split, trained.manifest
    counts = {
        "training_rows": len(split.training),
        "held_out_rows": len(split.held_out),
        "unlabelled_rows": split.unlabelled,
        "classes": len(trained.classifier.labels),
        "terms": sum(len(each.position) for each in trained.classifier.terms),
    }
    said = {**PARAMETERS, **counts, "temperature": round(trained.classifier.temperature, 4)}
    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, 0, model_id=model.model_id) for name, value in trained.metrics.items()]
    folds = [Metric("cv_f1_weighted", value, now, step) for step, value in enumerate(trained.validation.f1)]
    client.log_batch(run_id, [*metrics, *folds], [Param(name, str(value)) for name, value in said.items()])
    source = json.dumps({"uri": manifest.object})
    profile = json.dumps({"rows": manifest.rows, **counts})
    dataset = Dataset("catalog", manifest.sha256[:36], "s3", source, profile=profile)
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
    with tempfile.TemporaryDirectory() as folder:
        write_report(Path(folder), manifest, split, trained.validation, trained.evaluation)
        client.log_artifacts(run_id, folder, "report")
