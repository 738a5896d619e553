"""The names under which the model is known to MLflow."""

from __future__ import annotations

__all__ = ["ALIAS", "EXPERIMENT", "FOLDER", "MODEL"]

EXPERIMENT, MODEL, ALIAS = "fraud", "fraud-detector", "champion"
# The folder of the detector's files in what MLflow keeps of a model.
FOLDER = "detector"
