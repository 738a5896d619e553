"""A second project on the catalogue's servers: the registry's library knows a model by what it is told of it alone."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import closing
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.stack.catalog.ml.guess import Guess
from tests.stack.catalog.ml.guessing import GUESS
from tests.stack.conftest import SOURCES, environment

from registry.champion import Registry

from .conftest import Listing, Stack

TRAININGS = """
{data} 0.5 2025-01-02
{data} 0.5 2025-01-02
b 0.5 2025-01-02
c 0.9 2025-01-01
d 0.8 2025-01-02 fails
d 0.8 2025-01-02
"""


def test_two_projects_share_the_servers(stack: Stack, listings: list[Listing], tmp_path: Path) -> None:
    """Each has its own versions and its own champion, by rules of its own, though their data has one hash."""
    stack.put(listings)
    assert stack.train().returncode == 0
    (ours,) = stack.versions()
    given = {**environment(**stack.settings), "PYTHONPATH": f"{SOURCES}{os.pathsep}{REPOSITORY}"}
    done = subprocess.run(
        [stack.python, "-m", "tests.stack.catalog.ml.guessing"],
        input=TRAININGS.format(data=ours["tags"]["data_sha256"]).lstrip(),
        env=given,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "guess version 1 registered | 7 rows | champion: there was no champion; worth 0.5000",
        "guess version 1 was trained before on equal data, parameters and code | 7 rows | promoted then: "
        "there was no champion; worth 0.5000",
        "guess version 2 registered | 7 rows | not promoted: "
        "worth 0.5000 against 0.5000 of the champion, version 1, on the same 7 rows",
        "guess version 3 registered | 7 rows | not promoted: it knows data up to 2025-01-01 only; "
        "worth 0.9000 against 0.5000 of the champion, version 1, on the same 7 rows",
        "failed",
        "guess version 4 registered | 7 rows | champion: "
        "worth 0.8000 against 0.5000 of the champion, version 1, on the same 7 rows",
    ]
    assert stack.versions() == [ours] and stack.champion() == 1
    experiment = stack.ask("experiments/get-by-name?experiment_name=guesses", method="GET")["experiment"]
    runs = stack.ask("runs/search", {"experiment_ids": [experiment["experiment_id"]]})["runs"]
    assert len(runs) == 4 and {each["info"]["status"] for each in runs} == {"FINISHED"}
    _look_at_the_champion(stack, tmp_path)


def _look_at_the_champion(stack: Stack, folder: Path) -> None:
    """It is found by who serves it; its package has its code, at its place, and what else it was saved with."""
    code = "code/tests/stack/catalog/ml/guess.py"
    with closing(Registry(f"http://{stack.mlflow}", GUESS)) as registry:
        champion = registry.champion()
        assert champion is not None and (champion.number, champion.tags["newest"]) == (4, "2025-01-02")
        assert registry.load(champion) == Guess(0.8)
        registry.download(champion, ["MLmodel", "input_example.json", "numbers/reference.csv", code], folder)
    described = json.loads((folder / "MLmodel").read_text(encoding="utf-8"))["flavors"]["python_function"]
    assert (described["loader_module"], described["data"]) == ("tests.stack.catalog.ml.guess", "numbers")
    example = json.loads((folder / "input_example.json").read_text(encoding="utf-8"))
    assert example == {"columns": ["x"], "data": [[None]]}
    assert (folder / "numbers" / "reference.csv").read_text(encoding="utf-8") == "x\n1\n"
    assert (folder / code).read_bytes() == (Path(__file__).parent / "guess.py").read_bytes()
