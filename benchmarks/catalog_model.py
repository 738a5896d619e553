"""The catalogue's model on the real listings, against TF-IDF of words and pairs of words with a linear SVM.

    GIGOGNE_REAL_DATA=../shared/data python benchmarks/catalog_model.py --repeats 3

Both are trained on the same rows and judged on the same others: stratified folds, with equal titles or descriptions in
one fold, shuffled anew in each repeat (with other seeds than the model was chosen on). The interval is a bootstrap over
the listings, paired: both are judged on the same resample. One prediction is timed by the processor's clock, alone.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.svm import LinearSVC

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.paired import machine  # noqa: E402

from catalog.classifier import Classifier  # noqa: E402
from catalog.text import clean  # noqa: E402
from ml.dataset import Examples  # noqa: E402
from ml.fitting import fit, learn  # noqa: E402

FOLDS = 5
FIRST_SEED = 101
RESAMPLES = 4000
# Shorter descriptions ("nc", "new") are the same by chance.
TELLING_DESCRIPTION = 30
Codes = npt.NDArray[np.int64]


def main() -> None:
    """Measure, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--predictions", type=int, default=1000)
    given = options.parse_args()
    folder = os.environ.get("GIGOGNE_REAL_DATA")
    if not folder:
        sys.exit("GIGOGNE_REAL_DATA names no folder: it has catalog/X_train.csv and catalog/Y_train.csv")
    examples = read(Path(folder) / "catalog")
    print(f"{len(examples):,} listings in {len(set(examples.codes))} categories; {machine()}\n")
    compare(examples, given.repeats)
    begin, cpu = time.perf_counter(), time.process_time()
    model, _ = fit(examples, lambda line: None)
    taken, worked = time.perf_counter() - begin, time.process_time() - cpu
    print(f"training with {FOLDS} folds of cross-validation: {taken:.1f} s, {worked:.1f} s of processor; {machine()}")
    predictions(model, examples.texts[: given.predictions])


def read(folder: Path) -> Examples:
    """The real listings, cleaned, without exact duplicates."""
    csv.field_size_limit(2**30)
    with (folder / "X_train.csv").open(newline="", encoding="utf-8") as listings:
        texts = {row[""]: (clean(row["designation"]), clean(row["description"])) for row in csv.DictReader(listings)}
    with (folder / "Y_train.csv").open(newline="", encoding="utf-8") as labels:
        codes = {row[""]: int(row["prdtypecode"]) for row in csv.DictReader(labels)}
    first = {text: codes[index] for index, text in reversed(texts.items())}
    return Examples(list(first), list(first.values()))


def compare(examples: Examples, repeats: int) -> None:
    """Both on the same folds: weighted F1 of each, and how sure the difference is."""
    truth = np.array(examples.codes)
    groups = alike(examples.texts)
    contenders: dict[str, Callable[[Examples, list[tuple[str, str]]], Codes]] = {"baseline": baseline, "model": ours}
    guesses: dict[str, list[Codes]] = {name: [] for name in contenders}
    for seed in range(FIRST_SEED, FIRST_SEED + repeats):
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
        guessed = {name: np.zeros_like(truth) for name in contenders}
        for learned, judged in folds.split(truth, truth, groups):
            training = Examples([examples.texts[row] for row in learned], [examples.codes[row] for row in learned])
            held_out = [examples.texts[row] for row in judged]
            for name, contender in contenders.items():
                guessed[name][judged] = contender(training, held_out)
        for name in contenders:
            guesses[name].append(guessed[name])
        scores = ", ".join(f"{name} {f1_score(truth, guessed[name], average='weighted'):.4f}" for name in contenders)
        print(f"seed {seed}: {scores}", file=sys.stderr, flush=True)
    tell(truth, guesses)


def tell(truth: Codes, guesses: dict[str, list[Codes]]) -> None:
    """Print the table."""
    print("| | weighted F1 on held-out listings | 95 % by bootstrap |\n|---|---|---|")
    chance = np.random.default_rng(0)
    weights = chance.multinomial(len(truth), np.full(len(truth), 1 / len(truth)), size=RESAMPLES)
    resampled = {
        name: np.mean([weighted_f1(truth, each, weights) for each in made], 0) for name, made in guesses.items()
    }
    for name, made in guesses.items():
        mean = statistics.fmean(float(f1_score(truth, each, average="weighted")) for each in made)
        low, high = np.quantile(resampled[name], (0.025, 0.975))
        print(f"| {name} | {mean:.4f} | {low:.4f} to {high:.4f} |")
    apart = resampled["model"] - resampled["baseline"]
    low, high = np.quantile(apart, (0.025, 0.975))
    print(f"| model over baseline, paired | {apart.mean():+.4f} | {low:+.4f} to {high:+.4f} |\n")


def weighted_f1(truth: Codes, guessed: Codes, weights: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The weighted F1 of each resample, which says how often each listing is in it."""
    total = np.zeros(len(weights))
    for code in np.unique(truth):
        true, said = truth == code, guessed == code
        support = weights[:, true].sum(axis=1)
        both = weights[:, true & said].sum(axis=1)
        total += support * 2 * both / np.maximum(support + weights[:, said].sum(axis=1), 1)
    return np.asarray(total / weights.sum(axis=1))


def alike(texts: Sequence[tuple[str, str]]) -> list[int]:
    """A group for each listing: those of one title or of one description, directly or through others."""
    group = list(range(len(texts)))

    def root(number: int) -> int:
        while group[number] != number:
            number = group[number]
        return number

    first: dict[Any, int] = {}
    for number, (title, description) in enumerate(texts):
        keys = [(0, title), (1, description)] if len(description) >= TELLING_DESCRIPTION else [(0, title)]
        for key in keys:
            group[root(number)] = root(first.setdefault(key, number))
    return [root(number) for number in range(len(texts))]


def baseline(training: Examples, held_out: list[tuple[str, str]]) -> Codes:
    """Words and pairs of words, weighted, and a linear SVM: all as scikit-learn has them."""
    vectorizer = TfidfVectorizer(ngram_range=(1, 2))
    features = vectorizer.fit_transform(" ".join(text) for text in training.texts)
    machine = LinearSVC(random_state=0).fit(features, training.codes)
    return np.asarray(machine.predict(vectorizer.transform(" ".join(text) for text in held_out)))


def ours(training: Examples, held_out: list[tuple[str, str]]) -> Codes:
    """The catalogue's model, as it is served."""
    return learn(training).predict(held_out)


def predictions(model: Classifier, texts: list[tuple[str, str]]) -> None:
    """Print what one prediction takes, each listing by itself."""
    model.predict_proba(texts[:10])
    seconds = []
    for text in texts:
        begin = time.process_time()
        model.predict_proba([text])
        seconds.append(time.process_time() - begin)
    cuts = statistics.quantiles(seconds, n=100)
    median, high = cuts[49] * 1000, cuts[98] * 1000
    print(f"one prediction: {median:.2f} ms of processor at the median, {high:.2f} ms at the 99th percentile")


if __name__ == "__main__":
    main()
