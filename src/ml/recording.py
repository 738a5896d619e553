"""What MLflow shows of a training of the catalogue's model, and keeps of the model."""

from __future__ import annotations

import catalog
from catalog import classifier, features, pyfunc
from catalog.classifier import Classifier
from ml.dataset import Manifest, Split
from ml.evaluation import Evaluation
from ml.fitting import PARAMETERS, CrossValidation
from ml.report import write_report
from registry.package import Package
from registry.recording import Trained

__all__ = ["describe", "package"]

INPUTS = {"designation": "string", "description": "string"}
OUTPUTS = {"prdtypecode": "long", "probability": "double"}


def describe(
    model: Classifier, manifest: Manifest, split: Split, validation: CrossValidation, evaluation: Evaluation
) -> Trained[Classifier]:
    """All that is known of a classifier."""
    counts = {
        "training_rows": len(split.training),
        "held_out_rows": len(split.held_out),
        "unlabelled_rows": split.unlabelled,
        "classes": len(model.labels),
        "terms": sum(len(each.position) for each in model.terms),
    }
    cross_validated = {"cv_f1_weighted_mean": validation.mean, "cv_f1_weighted_std": validation.spread}
    return Trained(
        model,
        package(model, split.training.texts[0]),
        parameters={**PARAMETERS, **counts, "temperature": round(model.temperature, 4)},
        metrics={**evaluation.metrics, **cross_validated},
        series={"cv_f1_weighted": validation.f1},
        source=manifest.object,
        profile={"rows": manifest.rows, **counts},
        tags={"held_out_f1_weighted": f"{evaluation.metrics['held_out_f1_weighted']:.6f}"},
        report=lambda folder: write_report(folder, manifest, split, validation, evaluation),
    )


def package(model: Classifier, example: tuple[str, str]) -> Package:
    """What MLflow keeps of a classifier, with one (designation, description) as its input example."""
    return Package(pyfunc, (catalog, classifier, features, pyfunc), INPUTS, OUTPUTS, example, model.save)
