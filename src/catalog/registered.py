"""The catalogue's model as MLflow has it."""

from __future__ import annotations

from catalog.classifier import FILES, Classifier, ModelError
from catalog.names import ALIAS, EXPERIMENT, FOLDER, MODEL
from registry.model import RegisteredModel

__all__ = ["CLASSIFIER"]

CLASSIFIER = RegisteredModel(
    name=MODEL,
    alias=ALIAS,
    experiment=EXPERIMENT,
    about="Which of the catalogue's 27 categories a listing belongs to, by its cleaned designation and description.",
    folder=FOLDER,
    files=FILES,
    load=Classifier.load,
    damaged=ModelError,
)
