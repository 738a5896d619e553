"""The data component's Compose file through `gigogne run`: its image, its mounts, its variables, both ways."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from tests.conftest import REPOSITORY, Workspace


def write(path: Path, *rows: tuple[object, ...]) -> str:
    """A CSV; returns its path."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return str(path)


@pytest.mark.usefixtures("way")
def test_a_users_own_files(workspace: Workspace, tmp_path: Path) -> None:
    """CSVs that the user names are mounted, read, joined and validated."""
    workspace.folder = REPOSITORY  # whose services the fixture stops in the end
    workspace.environment["COMPOSE_PROJECT_NAME"] = f"data-{tmp_path.name.replace('_', '-')[:40]}"
    header = ("", "designation", "description", "productid", "imageid")
    x = write(tmp_path / "X.csv", header, (0, "Vase é", "<p>a\nb</p>", 1, 2), (4, "", "", 3, 4))
    y = write(tmp_path / "Y.csv", ("", "prdtypecode"), (0, 2060), (9, 10))
    wrong = workspace.run("-f", "docker-compose-data.yml", "run", LISTINGS_CSV=x, LABELS_CSV=y)
    assert (
        f"line 3 of LABELS_CSV {y} has the index '9', which is not in LISTINGS_CSV {x}" in wrong.stdout + wrong.stderr
    )
    write(tmp_path / "Y.csv", ("", "prdtypecode"), (0, 2060), (4, 10))
    done = workspace.run("-f", "docker-compose-data.yml", "run", LISTINGS_CSV=x, LABELS_CSV=y)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 rows in | 2 added | 0 already there → catalog.raw_products" in done.stdout
    assert "2 rows in | 1 products (1 new) | 1 rejected → catalog.products" in done.stdout
