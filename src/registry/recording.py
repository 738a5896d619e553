"""A training in MLflow: a run with parameters, metrics and pictures, its model, and then the version that points at it.

The version comes last: whoever finds one finds its figures too. What a killed trainer left before that is a run without
a version; the next trainer of the same model removes it.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

from registry.fingerprint import Fingerprint
from registry.model import M, Registered
from registry.package import Package, write_package
from registry.tracking import Tracking

__all__ = ["Trained", "record", "remove_unfinished"]


@dataclass(frozen=True)
class Trained(Generic[M]):
    """A model, and all that is known of it.

    Attributes:
        model: What predicts.
        package: What MLflow keeps of it.
        parameters: What decided about it, and how much it learned from, as MLflow shows it.
        metrics: How good it is.
        series: Metrics that have several values: one of each fold, say.
        source: The address of the data.
        profile: What is known of the data: rows, classes.
        tags: What its version says, beside its fingerprint and the decision about it.
        report: Writes what people read of it, pictures say, into an empty folder.
    """

    model: M
    package: Package
    parameters: Mapping[str, object]
    metrics: Mapping[str, float]
    source: str
    profile: Mapping[str, object]
    report: Callable[[Path], None]
    series: Mapping[str, Sequence[float]] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


def record(
    tracking: Tracking[M], trained: Trained[M], fingerprint: Fingerprint, began: float, check: Callable[[], None]
) -> Registered[M]:
    """Log a training that began then and register its model; return the version. On any failure nothing of it stays.

    Raises:
        RegistryError: MLflow failed; or `check` did, which looks whether the model's lock is held still.
    """
    check()
    experiment, client, name = tracking.experiment(), tracking.client, tracking.model.name
    with tracking.asking("log a run to"), _run(tracking, experiment, fingerprint, began) as run_id:
        model_id = _log_model(tracking, experiment, run_id, trained.package, fingerprint)
        _log_figures(tracking, run_id, model_id, trained, fingerprint, began)
        check()
        version = client.create_model_version(
            name,
            f"models:/{model_id}",
            run_id,
            tags={**fingerprint.tags, **trained.tags},
            model_id=model_id,
            await_creation_for=0,
        )
        # Last: of a run that is finished, nothing is left to be removed.
        client.set_terminated(run_id)
        return Registered(int(version.version), run_id, trained.model)


def remove_unfinished(tracking: Tracking[M], fingerprint: Fingerprint) -> int:
    """Remove what killed trainers of this model left; return how many runs. Only for who holds the model's lock.

    A finished run without a version is none of those: a person has deleted its version, and may want its figures.

    Raises:
        RegistryError: MLflow failed.
    """
    experiment = tracking.experiment()
    with tracking.asking("search the runs of"):
        found = tracking.client.search_runs([experiment], fingerprint.query)
        runs = [str(run.info.run_id) for run in found if run.info.status != "FINISHED"]
        left = [run_id for run_id in runs if not _versions(tracking, run_id)]
        for run_id in left:
            _remove(tracking, run_id, experiment)
    return len(left)


@contextmanager
def _run(tracking: Tracking[M], experiment: str, fingerprint: Fingerprint, began: float) -> Iterator[str]:
    """A run that is removed, with its model, if anything comes between: an error, a signal."""
    start, tags = int(began * 1000), fingerprint.tags
    name = f"{fingerprint.data_sha256[:8]}-{fingerprint.config_sha256[:8]}"
    run_id = ""
    try:
        made = tracking.client.create_run(experiment, start_time=start, tags=tags, run_name=name)
        run_id = str(made.info.run_id)
        yield run_id
    except BaseException:
        with suppress(Exception):
            _remove(tracking, run_id, experiment)
        raise


def _remove(tracking: Tracking[M], run_id: str, experiment: str) -> None:
    """Remove a run with its model, and with the version, if the answer that told of it was lost."""
    client = tracking.client
    if run_id:
        for version in _versions(tracking, run_id):
            client.delete_model_version(tracking.model.name, version.version)
        for model in client.search_logged_models([experiment], f"source_run_id = '{run_id}'"):
            client.delete_logged_model(model.model_id)
        client.delete_run(run_id)


def _versions(tracking: Tracking[M], run_id: str) -> list[Any]:
    query = f"name = '{tracking.model.name}' and run_id = '{run_id}'"
    return list(tracking.client.search_model_versions(query))


def _log_model(tracking: Tracking[M], experiment: str, run_id: str, package: Package, fingerprint: Fingerprint) -> str:
    """Upload the model as one that MLflow loads by itself; its id."""
    client, named = tracking.client, tracking.model
    made = client.create_logged_model(experiment, named.name, run_id, tags=fingerprint.tags, model_type="classifier")
    model_id = str(made.model_id)
    with tempfile.TemporaryDirectory() as folder:
        write_package(Path(folder), package, folder=named.folder, model_id=model_id, run_id=run_id)
        client.log_model_artifacts(model_id, folder)
    client.finalize_logged_model(model_id, "READY")
    return model_id


def _log_figures(
    tracking: Tracking[M], run_id: str, model_id: str, trained: Trained[M], fingerprint: Fingerprint, began: float
) -> None:
    """Log data, parameters, metrics, pictures and the card."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param

    client, now = tracking.client, time.time()
    said, at = {**trained.metrics, "training_seconds": now - began}, int(now * 1000)
    metrics = [Metric(name, value, at, 0, model_id=model_id) for name, value in said.items()]
    series = [
        Metric(name, value, at, step) for name, values in trained.series.items() for step, value in enumerate(values)
    ]
    parameters = [Param(name, str(value)) for name, value in trained.parameters.items()]
    client.log_batch(run_id, [*metrics, *series], parameters)
    source, profile = json.dumps({"uri": trained.source}), json.dumps(dict(trained.profile))
    data = Dataset(tracking.model.experiment, fingerprint.data_sha256[:36], "s3", source, profile=profile)
    client.log_inputs(run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
    client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
    with tempfile.TemporaryDirectory() as folder:
        trained.report(Path(folder))
        client.log_artifacts(run_id, folder, "report")
