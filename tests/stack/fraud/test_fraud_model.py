"""The detector: equal to scikit-learn's model, and read from files that are those that were saved."""

from __future__ import annotations

import io
import json
import pickle
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from fraud.features import FEATURES
from fraud.model import ABOUT, FILES, TREES, Detector, ModelError, read_file
from fraud.training.dataset import Examples
from fraud.training.fitting import detector_of, forest

WIDTH = len(FEATURES)


def examples(count: int = 4000, seed: int = 0) -> Examples:
    """Numbers of which some tell of frauds; a tenth of them is missing."""
    chance = np.random.default_rng(seed)
    rows = chance.normal(size=(count, WIDTH)).round(2)
    fraud = rows[:, 0] + rows[:, 1] * rows[:, 2] + chance.normal(size=count) > 3
    rows[chance.random(rows.shape) < 0.1] = np.nan
    return Examples(rows, fraud, np.abs(rows[:, 3]), np.arange(count))


@pytest.fixture(scope="module")
def fitted() -> Any:
    """scikit-learn's model."""
    return forest(examples())


@pytest.fixture
def saved(fitted: Any, tmp_path: Path) -> Path:
    """The folder of a detector, with a file of somebody else's beside it."""
    detector_of(fitted, slope=0.8, intercept=-0.5, threshold=0.2).save(tmp_path, {"beside.csv": b"1,2\n"})
    return tmp_path


def test_it_says_what_scikit_learn_says(fitted: Any) -> None:
    """To twelve digits: on rows that it has not seen, at the cuts, just beside them, and where much is missing."""
    detector = detector_of(fitted)
    rows = examples(3000, seed=1).rows
    cuts = rows.copy()
    for place in range(WIDTH):
        at = np.unique(detector.trees.cut[(detector.trees.feature == place) & (detector.trees.cut != 0)])
        if len(at):
            cuts[:, place] = np.random.default_rng(place).choice(
                [*at, *np.nextafter(at, 9), *np.nextafter(at, -9)], 3000
            )
    empty = np.where(np.random.default_rng(2).random(rows.shape) < 0.8, np.nan, rows)
    for given in (rows, cuts, empty, np.full((1, WIDTH), np.nan), np.full((1, WIDTH), 1e300)):
        expected = fitted.predict_proba(given)[:, 1]
        np.testing.assert_allclose(detector.score(given), expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(detector.log_odds(given), fitted.decision_function(given), rtol=0, atol=1e-12)


def test_a_row_by_itself_says_what_it_says_among_others(fitted: Any) -> None:
    """Equal to the bit, as tuples and as arrays: what the scorer says is what training has seen."""
    detector, rows = detector_of(fitted), examples(700, seed=3).rows
    together = detector.score(rows)
    alone = [detector.score([tuple(row)])[0] for row in rows.tolist()]
    assert together.tolist() == alone and together.dtype == np.float64
    assert detector.score([]).shape == (0,)
    with pytest.raises(ValueError, match=f"a row has {WIDTH - 1} features, and the detector reads {WIDTH}"):
        detector.score(rows[:, 1:])


def test_a_model_of_one_leaf_and_one_of_numbers_alone() -> None:
    """Where nothing can be told apart there are no nodes but leaves."""
    rows = np.zeros((200, WIDTH))
    flat = HistGradientBoostingClassifier(max_iter=3).fit(rows, np.arange(200) < 20)
    detector = detector_of(flat)
    assert detector.trees.depth == 0
    np.testing.assert_allclose(detector.score(rows), flat.predict_proba(rows)[:, 1], rtol=1e-12)


def test_calibration_keeps_the_order(fitted: Any) -> None:
    """A line over the log odds: other probabilities, the same order; alarms are from the threshold on."""
    rows = examples(500, seed=4).rows
    plain, other = detector_of(fitted), detector_of(fitted, slope=0.5, intercept=-1.0, threshold=0.25)
    assert np.array_equal(np.argsort(plain.score(rows), kind="stable"), np.argsort(other.score(rows), kind="stable"))
    np.testing.assert_allclose(other.score(rows), 1 / (1 + np.exp(1.0 - 0.5 * plain.log_odds(rows))), rtol=1e-12)
    assert other.is_fraud(np.array([0.2499, 0.25, 0.9])).tolist() == [False, True, True]


def test_what_is_saved_is_what_is_read(saved: Path, fitted: Any) -> None:
    """The same numbers, from files without any code in them."""
    assert {path.name for path in saved.iterdir()} == {*FILES, "beside.csv"}
    rows = examples(300, seed=5).rows
    read, kept = Detector.load(saved), detector_of(fitted, slope=0.8, intercept=-0.5, threshold=0.2)
    assert read.score(rows).tolist() == kept.score(rows).tolist() and read.threshold == 0.2
    assert read_file(saved, "beside.csv") == b"1,2\n"


@pytest.mark.parametrize("name", [*FILES, "beside.csv"])
def test_a_file_that_is_gone_or_changed_is_named(saved: Path, name: str) -> None:
    """One bit, half a file, no file: none is read as a detector."""
    body = (saved / name).read_bytes()
    read = (lambda: read_file(saved, name)) if name == "beside.csv" else (lambda: Detector.load(saved))
    for other in (body[: len(body) // 2], b"", bytes([body[0] ^ 1]) + body[1:]):
        (saved / name).write_bytes(other)
        with pytest.raises(ModelError, match=name):
            read()
    (saved / name).unlink()
    with pytest.raises(ModelError, match=f"{name} cannot be read"):
        read()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 2}, "has format 2"),
        ({"features": list(FEATURES[1:])}, "of other features than this program computes: train anew"),
        ({"slope": "steep"}, "describes no detector"),
        ({"depth": None}, "describes no detector"),
        ({"files": []}, "describes no detector"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(saved: Path, changes: dict[str, object], said: str) -> None:
    """A detector of other features, of another format, or of none."""
    about = json.loads((saved / ABOUT).read_bytes())
    (saved / ABOUT).write_text(json.dumps({**about, **changes}))
    with pytest.raises(ModelError, match=said):
        Detector.load(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"children": np.full((1, 2), 10**6, np.int32)},
        {"feature": np.full(1, WIDTH, np.int32)},
        {"feature": np.full(1, -1, np.int32)},
        {"roots": np.array([0.5])},
        {"cut": np.zeros(0)},
    ],
)
def test_trees_that_lead_nowhere_are_refused(fitted: Any, tmp_path: Path, changes: dict[str, Any]) -> None:
    """Whose digests are right, as a stranger may write them: no node leads out of the table."""
    detector = detector_of(fitted)
    nodes = len(detector.trees.value)
    grown = {
        name: np.resize(value, (nodes, *value.shape[1:])) if len(value) else value for name, value in changes.items()
    }
    replace(detector, trees=replace(detector.trees, **grown)).save(tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=f"the parts of {TREES} do not fit each other"):
        Detector.load(tmp_path)


def test_code_in_a_file_is_not_run(fitted: Any, tmp_path: Path) -> None:
    """Pickled objects among the arrays are an error, and stay what they are."""

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    body = io.BytesIO()
    np.savez(body, allow_pickle=True, value=np.array([Bomb()], dtype=object))
    assert pickle.dumps(Bomb())
    detector_of(fitted).save(tmp_path, {TREES: body.getvalue()})
    with pytest.raises(ModelError, match="describes no detector"):
        Detector.load(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.full
def test_one_score_takes_less_than_half_a_millisecond(fitted: Any) -> None:
    """Of processor time, at the median: what the scorer spends on the model itself."""
    detector, row = detector_of(fitted), examples(1).rows.tolist()
    taken = []
    for _ in range(500):
        begin = time.process_time()
        detector.score(row)
        taken.append(time.process_time() - begin)
    assert sorted(taken)[250] < 0.0005
