"""The classifier for MLflow: what `mlflow.pyfunc.load_model` calls. It travels with the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from catalog.classifier import Classifier

__all__ = ["Predictor"]


class Predictor:
    """Tells of each row of designation and description the likeliest code and its probability."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    def predict(self, frame: Any, params: dict[str, Any] | None = None) -> Any:
        """A data frame of prdtypecode and probability, for one of designation and description."""
        import pandas as pd

        texts = list(zip(frame["designation"], frame["description"], strict=True))
        likely = self._classifier.predict_proba(texts)
        best = {"prdtypecode": self._classifier.labels[likely.argmax(axis=1)], "probability": likely.max(axis=1)}
        return pd.DataFrame(best, index=frame.index)


def _load_pyfunc(path: str) -> Predictor:
    """MLflow's entry: the classifier in a folder."""
    return Predictor(Classifier.load(Path(path)))
