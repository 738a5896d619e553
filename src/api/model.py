"""The model in service: a version of the champion, and how it is followed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TypedDict

import numpy as np

from api.metrics import Metrics
from catalog.champion import Registry, Version
from catalog.classifier import Classifier
from catalog.names import MODEL
from catalog.text import clean
from registry.watch import Watch

__all__ = ["Champion", "Likely", "Model"]


class ModelName(TypedDict):
    """A version of the model, as responses say it."""

    name: str
    version: int


Likely = tuple[int, float]
"""A code, and its probability."""

# What a new model is asked before it serves: its tables are made, and a model that cannot answer is found out.
WARM_UP = [("piscine gonflable", "avec pompe"), ("lot de livres", ""), ("", "")]


@dataclass(frozen=True)
class Model:
    """A version of the champion, loaded.

    Attributes:
        version: What the registry says of it.
        classifier: What predicts.
        loaded: Since when it is there.
    """

    version: Version
    classifier: Classifier
    loaded: datetime

    @cached_property
    def name(self) -> ModelName:
        """Which model answers, as responses say it."""
        return {"name": MODEL, "version": self.version.number}

    @cached_property
    def _codes(self) -> list[int]:
        return [int(code) for code in self.classifier.labels]

    def likeliest(self, designation: str, description: str, count: int) -> list[Likely]:
        """The most likely codes of a listing, best first."""
        (chances,) = self.classifier.predict_proba([(clean(designation), clean(description))])
        best = np.argsort(-chances, kind="stable")[:count].tolist()
        return [(self._codes[place], round(float(chances[place]), 6)) for place in best]


class Champion(Watch[Model]):
    """The model in service, kept the one that is promoted.

    Args:
        tracking_uri: The MLflow to ask.
        poll: Seconds between two looks.
        metrics: What is told of it.
    """

    def __init__(self, tracking_uri: str, poll: float, metrics: Metrics) -> None:
        registry = Registry(tracking_uri)

        def load(version: Version) -> Model:
            model = Model(version, registry.load(version), datetime.now(UTC))
            for text in WARM_UP:
                model.likeliest(*text, count=1)
            return model

        absent = f"MLflow has no champion of {MODEL}: train one (gigogne run --pipeline catalog)"
        super().__init__(registry, load, absent=absent, poll=poll, observer=metrics)
