"""The detector for MLflow: what `mlflow.pyfunc.load_model` calls. It travels with the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fraud.features import FEATURES
from fraud.model import Detector

__all__ = ["Predictor"]


class Predictor:
    """Tells of each row of features the probability of fraud, and whether it is an alarm."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def predict(self, frame: Any, params: dict[str, Any] | None = None) -> Any:
        """A data frame of score and is_fraud, for one of the features."""
        import pandas as pd

        scores = self._detector.score(frame[list(FEATURES)].to_numpy(dtype="float64", na_value=float("nan")))
        return pd.DataFrame({"score": scores, "is_fraud": self._detector.is_fraud(scores)}, index=frame.index)


def _load_pyfunc(path: str) -> Predictor:
    """MLflow's entry: the detector in a folder."""
    return Predictor(Detector.load(Path(path)))
