"""The environment that uv gets of the caller's."""

from __future__ import annotations

import pytest

from gigogne.engines.process.uv import uv_environment


def test_environment_of_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings stay, what points to another environment goes, and uv's own variable wins over pip's."""
    misleading = {"VIRTUAL_ENV": "/v", "PYTHONPATH": "/p", "PYTHONHOME": "/h", "CONDA_PREFIX": "/c", "UV_PYTHON": "3"}
    settings = {"PIP_INDEX_URL": "pip", "PIP_EXTRA_INDEX_URL": "more", "UV_INDEX": "own", "HTTPS_PROXY": "proxy"}
    for name, value in {**misleading, **settings}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    seen = uv_environment()
    assert (seen["UV_DEFAULT_INDEX"], seen["UV_INDEX"], seen["HTTPS_PROXY"]) == ("pip", "own", "proxy")
    assert not misleading.keys() & seen.keys()
