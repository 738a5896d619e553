"""The catalogue's promoted model, as who serves it sees it."""

from __future__ import annotations

from catalog.classifier import Classifier
from catalog.registered import CLASSIFIER
from registry import champion
from registry.champion import Version

__all__ = ["Registry", "Version"]


class Registry(champion.Registry[Classifier]):
    """The MLflow server that has the catalogue's model.

    Args:
        tracking_uri: Its address.
        patience: Seconds that an answer may take, and a download of the whole model.

    Raises:
        SettingError: That is no address.
    """

    def __init__(self, tracking_uri: str, patience: float = 30.0) -> None:
        super().__init__(tracking_uri, CLASSIFIER, patience)
