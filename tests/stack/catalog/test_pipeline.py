"""The catalogue from raw listings to a promoted model by `gigogne run --pipeline catalog`, without Docker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import REPOSITORY, Workspace
from tests.stack.catalog.outcome import SETTINGS, look, run, said, served

JOBS = {"extract", "transform", "cleaning", "train"}


@pytest.fixture
def stack(workspace: Workspace, tmp_path: Path) -> Iterator[Workspace]:
    """The repository's own files as a project of its own name, on an address of its own."""
    workspace.folder, workspace.patience = REPOSITORY, 300
    workspace.environment |= {
        **SETTINGS,
        "COMPOSE_PROJECT_NAME": f"stack-{tmp_path.name.replace('_', '-')[:40]}",
        "BIND_ADDRESS": f"127.6.{os.getpid() // 256 % 256}.{os.getpid() % 256}",
    }
    yield workspace
    workspace.run("down", "-v")


@pytest.mark.usefixtures("way")
def test_from_listings_to_a_champion_twice(stack: Workspace) -> None:
    """Listings in, cleaned, trained, registered, promoted; a second run doubles nothing, and says so."""
    address = stack.environment["BIND_ADDRESS"]
    with served(stack):
        first = run(stack)
        assert {each["service"] for each in first["services"] if each["kind"] == "job"} == JOBS
        seen = look(address)
        second = said(run(stack))
        assert look(address) == seen
    documents = seen.documents
    assert documents["raw_products"] == documents["products"] + documents["rejected_products"] == 1200
    assert seen.manifest["source"]["rows"] == seen.manifest["rows_in"] == documents["products"]
    assert seen.manifest["rows_out"] == documents["products"] - sum(seen.manifest["rejected"].values())
    assert seen.objects == ["clean/manifest.json", seen.manifest["object"].removeprefix("s3://catalog/")]
    assert seen.versions == [seen.champion] == ["1"]
    assert seen.data == seen.manifest["sha256"] and 0.3 < seen.scores["held_out_f1_weighted"] <= 1
    assert "0 added" in second["extract"] and "0 new" in second["transform"] and "unchanged" in second["cleaning"]
    assert "version 1 was trained before" in second["train"]
