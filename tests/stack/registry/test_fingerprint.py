"""What a model is made of: equal things have one hash, and whatever decides about the model changes it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from registry.fingerprint import Fingerprint, config_sha256


@pytest.fixture
def maker(tmp_path: Path) -> ModuleType:
    """A module that makes models."""
    file = tmp_path / "maker.py"
    file.write_text("DEPTH = 3\n", encoding="utf-8")
    spec = importlib.util.spec_from_file_location("maker", file)
    assert spec is not None
    return importlib.util.module_from_spec(spec)


def test_what_decides_about_a_model_is_in_its_hash(maker: ModuleType) -> None:
    """Parameters, in whatever order they are named, the makers' code, and the versions of the libraries."""

    def hashed(*parameters: object, libraries: tuple[str, ...] = ("numpy",)) -> str:
        return config_sha256(*parameters, makers=[maker], libraries=libraries)

    one = hashed({"rate": 0.1, "depth": 3})
    assert one == hashed({"depth": 3, "rate": 0.1}) and len(one) == 64
    assert one != hashed({"rate": 0.2, "depth": 3})
    assert one != hashed({"rate": 0.1, "depth": 3}, libraries=("numpy", "urllib3"))
    Path(str(maker.__file__)).write_text("DEPTH = 4\n", encoding="utf-8")
    assert one != hashed({"rate": 0.1, "depth": 3})
    assert "maker" not in sys.modules, "its code is read, not run"


def test_a_fingerprint_is_asked_for_by_its_tags() -> None:
    """MLflow finds what was tagged so."""
    made = Fingerprint("d1", "c1")
    assert made.tags == {"data_sha256": "d1", "config_sha256": "c1"}
    assert made.query == "tags.data_sha256 = 'd1' and tags.config_sha256 = 'c1'"
