"""What a model is made of, as two hashes: of its data, and of all else that decides about it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

__all__ = ["Fingerprint", "config_sha256"]


@dataclass(frozen=True)
class Fingerprint:
    """What a model is made of: equal ones are the same model."""

    data_sha256: str
    config_sha256: str

    @property
    def tags(self) -> dict[str, str]:
        """How MLflow knows it."""
        return {"data_sha256": self.data_sha256, "config_sha256": self.config_sha256}

    @property
    def query(self) -> str:
        """What finds it in MLflow."""
        return " and ".join(f"tags.{name} = '{value}'" for name, value in self.tags.items())


def config_sha256(*parameters: object, makers: Iterable[ModuleType], libraries: Iterable[str]) -> str:
    """What decides about a model beside its data.

    Args:
        parameters: Of the training; whatever JSON can write.
        makers: The modules that make the model, whose code counts.
        libraries: The distributions that they use, whose versions count.
    """
    code = [Path(str(module.__file__)).read_text(encoding="utf-8") for module in makers]
    parts = [*parameters, {name: version(name) for name in libraries}, code]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
