"""The cache of what was made of files: it never answers with what the files do not say any more."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from gigogne.airflow import cache


def cached(folder: Path, key: Sequence[object], make: Callable[[], tuple[Any, Sequence[Path]]]) -> Any:
    """What the cache answers, a list of texts."""
    return cache.cached(folder, key, make, list)


class Maker:
    """Makes something of files, and counts how often."""

    def __init__(self, *files: Path) -> None:
        self.files = files
        self.count = 0

    def make(self) -> tuple[Any, Sequence[Path]]:
        """What the files hold."""
        self.count += 1
        return [file.read_text() if file.is_file() else None for file in self.files], self.files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that was written a while ago."""
    path = tmp_path / "file.yml"
    path.write_text("one", encoding="utf-8")
    time.sleep(0.1)
    return path


def test_it_is_made_once(tmp_path: Path, file: Path) -> None:
    """As long as nothing changes; another key is another thing."""
    maker = Maker(file)
    assert [cached(tmp_path / "cache", ("a",), maker.make) for _ in range(3)] == [["one"]] * 3 and maker.count == 1
    cached(tmp_path / "cache", ("b",), maker.make)
    assert maker.count == 2


def test_a_change_makes_it_anew(tmp_path: Path, file: Path) -> None:
    """By content: the same size and the same time hide nothing, and a new time alone is no change."""
    maker, stamp = Maker(file), file.stat()
    cached(tmp_path / "cache", (), maker.make)
    os.utime(file)
    cached(tmp_path / "cache", (), maker.make)
    assert maker.count == 1
    file.write_text("two", encoding="utf-8")
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert cached(tmp_path / "cache", (), maker.make) == ["two"]


def test_what_comes_and_goes_is_a_change(tmp_path: Path, file: Path) -> None:
    """A file that was looked for in vain may come, and one that was there may go."""
    other = tmp_path / "other.yml"
    maker = Maker(file, other)
    assert cached(tmp_path / "cache", (), maker.make) == ["one", None]
    other.write_text("more", encoding="utf-8")
    time.sleep(0.1)
    assert cached(tmp_path / "cache", (), maker.make) == ["one", "more"]
    file.unlink()
    assert cached(tmp_path / "cache", (), maker.make) == [None, "more"]


def test_a_file_that_changes_meanwhile_is_not_kept(tmp_path: Path, file: Path) -> None:
    """What was read and what lies there in the end may differ then."""

    def make() -> tuple[list[str], Sequence[Path]]:
        read = file.read_text(encoding="utf-8")
        file.write_text("two", encoding="utf-8")
        return [read], [file]

    assert cached(tmp_path / "cache", (), make) == ["one"]
    assert cached(tmp_path / "cache", (), Maker(file).make) == ["two"]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"files": []}', '{"made": 1}', '{"files": {}, "made": 1}'])
def test_a_damaged_record_is_none(tmp_path: Path, file: Path, damage: str) -> None:
    """It is written again."""
    maker = Maker(file)
    cached(tmp_path / "cache", (), maker.make)
    (record,) = (tmp_path / "cache").iterdir()
    record.write_text(damage, encoding="utf-8")
    assert cached(tmp_path / "cache", (), maker.make) == cached(tmp_path / "cache", (), maker.make) == ["one"]
    assert maker.count == 2


def test_without_a_place_to_write_it_is_made_each_time(tmp_path: Path, file: Path) -> None:
    """And nobody is told: the folder may be read-only on purpose."""
    maker = Maker(file)
    assert cached(file / "cache", (), maker.make) == cached(file / "cache", (), maker.make) == ["one"]
    assert maker.count == 2


def test_an_error_is_not_kept(tmp_path: Path, file: Path) -> None:
    """It is raised, and nothing is written."""

    def fail() -> tuple[None, Sequence[Path]]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cached(tmp_path / "cache", (), fail)
    assert cached(tmp_path / "cache", (), Maker(file).make) == ["one"]
