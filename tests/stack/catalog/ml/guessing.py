"""`python -m tests.stack.catalog.ml.guessing`: trainings of a second project, on the servers of the environment.

Each line of standard input is one: the data's hash, what the model says, the newest data that it knows, and perhaps
`fails`. Each line of standard output is what became of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from tests.stack.catalog.ml import guess
from tests.stack.catalog.ml.guess import NUMBER, Guess, GuessError

from registry.fingerprint import Fingerprint
from registry.lock import Database
from registry.model import RegisteredModel
from registry.package import Package
from registry.promotion import Comparison
from registry.recording import Trained
from registry.tracking import Tracking
from registry.training import Work, train

__all__ = ["GUESS"]

GUESS = RegisteredModel("guess", "champion", "guesses", "Says a number.", "numbers", (NUMBER,), Guess.load, GuessError)


def work(number: float, newest: str, fails: bool) -> Work[Guess]:
    """What there is to do."""

    def objection(champion: Mapping[str, str]) -> str:
        return f"it knows data up to {newest} only" if champion["newest"] > newest else ""

    def report(folder: Path) -> None:
        if fails:
            raise ArithmeticError
        (folder / "card.md").write_text("A number.", encoding="utf-8")

    made = Guess(number)
    columns = {"x": "double"}
    package = Package(guess, [guess], columns, columns, [float("nan")], made.save)
    comparison = Comparison[Guess](lambda model: model.number, "worth", "worth", 7, "rows", objection)
    trained = Trained(
        made,
        package,
        parameters={"number": number},
        metrics={"worth": number},
        source="s3://guesses/data.csv",
        profile={"rows": 7},
        report=report,
        tags={"newest": newest},
    )
    return Work(comparison, lambda: trained)


def main() -> None:
    """Train, line after line."""
    tracking = Tracking(os.environ["MLFLOW_TRACKING_URI"], GUESS)
    database = Database(os.environ["ML_DATABASE_URI"], "ML_DATABASE_URI", "guess")
    for line in sys.stdin:
        data, number, newest, *fails = line.split()
        prepare = partial(work, float(number), newest, bool(fails))
        fingerprint = Fingerprint(data, "c" * 64)
        try:
            print(train(tracking, database, fingerprint, prepare, lambda said: None, force=False).line(7))
        except ArithmeticError:
            print("failed")


if __name__ == "__main__":
    main()
