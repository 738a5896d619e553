"""The model without servers: what it sees, what it refuses to learn from, and what of it is saved."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from catalog.classifier import Classifier, ModelError
from catalog.features import Block
from catalog.held_out import is_held_out
from job.errors import JobError
from ml.dataset import Examples, Rows, split
from ml.evaluation import evaluate, weighted_f1
from ml.fitting import fit

TITLES = {
    10: "roman livre poche histoire auteur tome collection lecture",
    40: "jeu console manette cartouche edition joueur import aventure",
    2280: "magazine revue journal numero mensuel dossier parution couverture",
}


def make_examples(count: int, seed: int = 0, described: bool = True) -> Examples:
    """Titles of three classes, whose words overlap a little."""
    chance = random.Random(seed)
    every = " ".join(TITLES.values()).split()
    codes = [chance.choice(list(TITLES)) for _ in range(count)]
    words = [chance.choices(TITLES[code].split(), k=2) + chance.choices(every, k=2) for code in codes]
    told = [" ".join(chance.choices(every, k=5)) if described else "" for _ in codes]
    return Examples([(" ".join(title), text) for title, text in zip(words, told, strict=True)], codes)


@pytest.fixture(scope="module")
def trained() -> Classifier:
    """A small classifier."""
    return fit(make_examples(150), lambda line: None)[0]


def test_terms_of_a_text() -> None:
    """Words are runs of two characters or more; characters stay inside words, with the space on either side."""
    words, characters = Block("designation", "words", 1, 2, 1.0), Block("description", "characters", 2, 3, 1.0)
    assert words.terms("dé à 20 faces") == ["dé", "20", "faces", "dé 20", "20 faces"]
    assert characters.terms("à no") == [" à", "à ", " à ", " n", "no", "o ", " no", "no "]
    assert words.of(("title", "text")) == "title" and characters.of(("title", "x" * 9000)) == "x" * 500


def test_characters_are_those_of_scikit_learn() -> None:
    """The n-grams of characters are what its `char_wb` gives, of any text."""
    from sklearn.feature_extraction.text import CountVectorizer

    block = Block("designation", "characters", 2, 5, 1.0)
    theirs = CountVectorizer(analyzer="char_wb", ngram_range=(2, 5)).build_analyzer()
    chance = random.Random(3)
    for _ in range(300):
        text = "".join(chance.choices("ab é1-'  ", k=chance.randrange(30)))
        assert sorted(block.terms(text)) == sorted(theirs(text)), text


def test_probabilities(trained: Classifier) -> None:
    """Each row sums to 1, whatever the text; the likeliest is what is predicted; the batch does not matter."""
    texts = [*make_examples(20, seed=1).texts, ("", ""), ("zzz", "qqq"), ("roman " * 5000, "")]
    likely = trained.predict_proba(texts)
    assert np.allclose(likely.sum(axis=1), 1) and (likely >= 0).all() and likely.shape == (23, 3)
    assert (trained.labels[likely.argmax(axis=1)] == trained.predict(texts)).all()
    assert (np.vstack([trained.predict_proba([text]) for text in texts]) == likely).all()


def test_equal_examples_give_an_equal_model(trained: Classifier, tmp_path: Path) -> None:
    """Training has no chance in it: the files of two models are the same bytes."""
    again = fit(make_examples(150), lambda line: None)[0]
    for name, model in (("one", trained), ("two", again)):
        (tmp_path / name).mkdir()
        model.save(tmp_path / name)
    files = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()}


def test_a_saved_model_is_the_same(trained: Classifier, tmp_path: Path) -> None:
    """What is loaded predicts what was saved."""
    trained.save(tmp_path)
    texts = make_examples(50, seed=2).texts
    assert (Classifier.load(tmp_path).predict_proba(texts) == trained.predict_proba(texts)).all()


@pytest.mark.parametrize("name", ["model.json", "vocabulary.json", "weights.npz"])
@pytest.mark.parametrize("damage", ["missing", "cut", "changed"])
def test_a_damaged_model_is_refused(trained: Classifier, tmp_path: Path, name: str, damage: str) -> None:
    """A file that is missing, cut short or changed by one bit is never loaded."""
    trained.save(tmp_path)
    path, body = tmp_path / name, (tmp_path / name).read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(body[: len(body) // 2])
    elif name == "model.json":
        path.write_text(json.dumps({**json.loads(body), "format": 99}))
    else:
        path.write_bytes(body[:100] + bytes([body[100] ^ 1]) + body[101:])
    with pytest.raises(ModelError):
        Classifier.load(tmp_path)


def test_descriptions_that_are_all_empty() -> None:
    """A field that no listing has is left out, and the model learns from the other."""
    model, validation = fit(make_examples(120, described=False), lambda line: None)
    assert validation.mean > 0.6 and model.predict_proba([("roman livre", "never seen")]).shape == (1, 3)


def test_two_classes_are_told_apart() -> None:
    """With two classes, too, there is a probability of each."""
    every = make_examples(150)
    kept = [row for row, code in enumerate(every.codes) if code != 40]
    model, _ = fit(Examples([every.texts[row] for row in kept], [every.codes[row] for row in kept]), lambda line: None)
    assert model.labels.tolist() == [10, 2280]
    assert model.predict([("roman livre poche", ""), ("magazine revue", "")]).tolist() == [10, 2280]


@pytest.mark.parametrize(
    ("titles", "said"),
    [
        ({10: [f"roman {number}" for number in range(20)], 40: ["console"] * 20}, "two classes need two titles each"),
        ({10: ["roman", "livre"] * 10, 40: ["console", "manette"] * 10}, "have 4 distinct titles, and 5 are the least"),
    ],
)
def test_titles_that_make_no_folds_are_refused(titles: dict[int, list[str]], said: str) -> None:
    """Equal titles are in one fold: where one class is left to learn from, or a fold is empty, that is said."""
    pairs = [((title, "une description"), code) for code, each in titles.items() for title in each]
    with pytest.raises(JobError, match=said):
        fit(Examples([text for text, _ in pairs], [code for _, code in pairs]), lambda line: None)


def test_evaluation_counts_classes_that_were_not_learned(trained: Classifier) -> None:
    """A held-out listing of an unknown class is a mistake, and its row is in the confusion matrix."""
    known = make_examples(60, seed=5)
    judged = evaluate(trained, Examples([*known.texts, ("autre chose", "")], [*known.codes, 99]))
    assert [each.code for each in judged.classes] == [10, 40, 99, 2280]
    assert judged.confusion.sum() == 61 and judged.classes[2].f1 == 0
    assert judged.metrics["held_out_f1_weighted"] < weighted_f1(trained, known) <= 1
    assert all(np.isfinite(value) for value in judged.metrics.values())


def rows(codes: list[int | None], titles: list[str] | None = None) -> Rows:
    """Listings with these codes."""
    count = len(codes)
    names = titles or [f"title {number}" for number in range(count)]
    return Rows(list(range(count)), names, [""] * count, codes)


def test_the_split_is_by_product_alone() -> None:
    """Other listings change nothing for those that stay: a product is held out or not, for ever."""
    codes: list[int | None] = [10, 40] * 200
    whole, part = split(rows(codes)), split(rows(codes[:300]))
    assert 0.12 < len(whole.held_out) / 400 < 0.28
    assert set(part.held_out.texts) <= set(whole.held_out.texts)
    assert not set(whole.held_out.texts) & set(whole.training.texts)


def test_a_title_that_is_held_out_is_not_trained_on() -> None:
    """Listings of one title are never on both sides; those that this takes from training are counted."""
    titles = [f"title {number // 2}" for number in range(400)]
    made = split(rows([10, 40] * 200, titles))
    assert not {title for title, _ in made.held_out.texts} & {title for title, _ in made.training.texts}
    assert made.same_title > 0 and len(made.training) + len(made.held_out) + made.same_title == 400


def test_unlabelled_listings_and_rare_classes_are_counted() -> None:
    """Listings without a code, and classes with fewer than five to learn from, are left out and told."""
    made = split(rows([None] * 30 + [10, 40] * 100 + [50, 50]))
    assert (made.unlabelled, made.left_out) == (30, {50: 2})
    assert set(made.training.codes) == {10, 40}


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ([None] * 50, "no listing has a prdtypecode"),
        ([10] * 50, "two classes are the least"),
        ([10, 40, 50, 60], "a model needs two"),
        ([], "no listing has a prdtypecode"),
    ],
)
def test_what_cannot_be_learned_is_refused(codes: list[int | None], said: str) -> None:
    """No labels, one class, or too few listings are one line that says what to do."""
    with pytest.raises(JobError, match=said):
        split(rows(codes))


def test_a_fifth_is_held_out() -> None:
    """The hash of the product id holds out one in five."""
    assert 0.18 < sum(map(is_held_out, range(10_000))) / 10_000 < 0.22
