"""What the outbox is told and cannot use is refused before anything starts, in one line that says what to do."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.stack.api.outbox.conftest import NOBODY, Open

from api.outbox import Bound
from api.spool import Spool
from job.errors import SettingError


def _a_file(spool: Path) -> None:
    spool.write_text("a file", encoding="utf-8")


def _newer(spool: Path) -> None:
    spool.mkdir()
    connection = sqlite3.connect(spool / "outbox.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def _damaged(spool: Path) -> None:
    spool.mkdir()
    (spool / "outbox.db").write_bytes(b"no database at all" * 1000)


def _torn(spool: Path) -> None:
    Spool(spool, Bound()).close()
    with (spool / "outbox.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_a_file, "cannot be written"),
        (_newer, "in version 99"),
        (_damaged, "damaged .*move its outbox.db away"),
        (_torn, "damaged"),
    ],
    ids=["file", "newer", "no database", "damaged"],
)
def test_a_spool_that_cannot_be_used_is_refused_before_anything_starts(
    tmp_path: Path, opened: Open, spoil: Callable[[Path], None], said: str
) -> None:
    """One line that says what to do."""
    spoil(tmp_path / "spool")
    with pytest.raises(SettingError, match=f"API_SPOOL=.*{said}"):
        opened(NOBODY)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, opened: Open) -> None:
    """A volume that belongs to root, say."""
    (tmp_path / "spool").mkdir(mode=0o500)
    with pytest.raises(SettingError, match="cannot be written"):
        opened(NOBODY)


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://admin:p@ss/w0rd@host:27017/catalog",
        "mongodb://",
        "mongodb://h:x/",
        "mongodb://h/?tlsCAFile=/no&tls=1",
    ],
)
def test_an_address_that_is_none_is_refused_without_its_password(opened: Open, uri: str) -> None:
    """At the start, in one line."""
    with pytest.raises(SettingError, match="MONGODB_URI") as refused:
        opened(uri)
    assert "p@ss" not in str(refused.value)
    assert "w0rd" not in str(refused.value)
