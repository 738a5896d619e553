"""The page about Dockerfiles says what the code does."""

from __future__ import annotations

from pathlib import Path

from gigogne.engines.process.image.commands import MODULES, TABLES
from gigogne.engines.process.image.instructions import INSTRUCTIONS
from gigogne.engines.process.image.reference import page
from gigogne.engines.process.image.shell import Support

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "dockerfile-support.md"


def test_the_page_is_made_from_the_tables() -> None:
    """The page in the repository is the one that the tables make, to the letter."""
    assert PAGE.read_text(encoding="utf-8") == page(), f"python -m gigogne.engines.process.image.reference > {PAGE}"


def test_every_row_does_what_it_says() -> None:
    """A refused row has only its fix; a name is in one table once."""
    rows = [row for table in (*TABLES.values(), MODULES) for row in table]
    assert all(row.obey is None for row in rows if row.support is Support.REFUSED)
    assert all(row.meaning for row in rows)
    assert all(row.meaning for row in INSTRUCTIONS.values())
    names = [name for table in TABLES.values() for row in table for name in row.names.split()]
    assert len(names) == len(set(names))
