"""The model in service: a version of the fraud detector, and how it is followed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fraud.features import Transaction, features
from fraud.landing import write_whole
from fraud.model import Detector
from fraud.names import MODEL
from fraud.registered import DETECTOR
from fraud.scoring.metrics import Metrics
from registry.champion import Registry, Version
from registry.watch import Watch

__all__ = ["Champion", "Model", "Thresholds"]

THRESHOLDS = ".scorer-thresholds.json"

# What a new model is asked before it serves: one that cannot answer is found out.
WARM_UP = Transaction("", 1, datetime(2025, 1, 1), "", "misc_pos", 1.0, 0.0, 0.0, 0.0, 0.0, 1)


@dataclass(frozen=True)
class Model:
    """A version of the champion, loaded.

    Attributes:
        number: Its number in the registry.
        detector: What scores.
    """

    number: int
    detector: Detector

    def score(self, now: Transaction, past: list[Transaction]) -> float:
        """How likely a transaction is a fraud, given its card's past."""
        return float(self.detector.score([features(now, past)])[0])


class Thresholds:
    """From where on a score is an alarm, by version: those that were in service here, this one or a former process.

    The table has a score and the version that gave it. Who asks again hears the threshold, too, that was told before.

    Args:
        folder: Where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / THRESHOLDS
        try:
            kept = json.loads(self._file.read_bytes())
            self._known = {int(version): float(threshold) for version, threshold in kept.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            self._known = {}

    def of(self, version: int) -> float | None:
        """The threshold of a version; None where nobody knows it any more."""
        return self._known.get(version)

    def keep(self, version: int, threshold: float) -> None:
        """Remember the threshold of a version.

        Raises:
            JobError: The folder cannot be written.
        """
        if self._known.get(version) != threshold:
            self._known |= {version: threshold}
            write_whole(self._file, [json.dumps(self._known).encode()])


class Champion(Watch[Model]):
    """The model in service, kept the one that is promoted.

    Args:
        tracking_uri: The MLflow to ask.
        poll: Seconds between two looks.
        thresholds: What remembers the threshold of each version that was in service.
        metrics: What is told of it.
    """

    def __init__(self, tracking_uri: str, poll: float, thresholds: Thresholds, metrics: Metrics) -> None:
        registry = Registry(tracking_uri, DETECTOR)

        def load(version: Version) -> Model:
            model = Model(version.number, registry.load(version))
            model.score(WARM_UP, [])
            thresholds.keep(version.number, model.detector.threshold)
            return model

        absent = f"MLflow has no champion of {MODEL}: train one (gigogne run train_fraud)"
        super().__init__(registry, load, absent=absent, poll=poll, observer=metrics)
