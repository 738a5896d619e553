"""The fraud detector as MLflow has it."""

from __future__ import annotations

from fraud.model import FILES, Detector, ModelError
from fraud.names import ALIAS, EXPERIMENT, FOLDER, MODEL
from registry.model import RegisteredModel

__all__ = ["DETECTOR"]

DETECTOR = RegisteredModel(
    name=MODEL,
    alias=ALIAS,
    experiment=EXPERIMENT,
    about="How likely a card transaction is a fraud, by what it is and by its card's last thirty days.",
    folder=FOLDER,
    files=FILES,
    load=Detector.load,
    damaged=ModelError,
)
