"""A model of another project than the catalogue: one number, which is its answer to everything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["NUMBER", "Guess", "GuessError"]

NUMBER = "number.txt"


class GuessError(Exception):
    """The file has no number."""


@dataclass(frozen=True)
class Guess:
    """What it says."""

    number: float

    def save(self, folder: Path) -> None:
        """Write its file into a folder, and one that it can do without."""
        (folder / NUMBER).write_text(str(self.number), encoding="utf-8")
        (folder / "reference.csv").write_text("x\n1\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Guess:
        """The model of a folder."""
        try:
            return cls(float((folder / NUMBER).read_text(encoding="utf-8")))
        except ValueError:
            raise GuessError(f"{NUMBER} has no number") from None


def _load_pyfunc(path: str) -> Guess:
    """MLflow's entry."""
    return Guess.load(Path(path))
