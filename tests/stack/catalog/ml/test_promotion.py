"""Promotion against a real registry: the champion is the best on the same held-out listings, whoever comes last."""

from __future__ import annotations

import pytest

from catalog.held_out import is_held_out

from .conftest import Listing, Stack, mislabelled


def test_only_a_better_model_is_promoted(stack: Stack, listings: list[Listing]) -> None:
    """A worse one and an equal one are registered with the reason and the numbers; a better one is promoted."""
    bad = stack.put(mislabelled(listings, is_held_out), "bad")
    good = stack.put(listings, "good")
    assert "champion: there was no champion" in stack.train(TRAINING_DATA=bad).stdout
    assert "champion: weighted F1" in stack.train(TRAINING_DATA=good).stdout
    tie = stack.train(TRAINING_DATA=good, TRAIN_FORCE=1).stdout
    assert tie.startswith("catalog-classifier version 3 registered") and "not promoted: weighted F1" in tie
    first, second, third = (each["tags"] for each in stack.versions())
    assert [first["promotion"], second["promotion"], third["promotion"]] == ["promoted", "promoted", "kept"]
    assert float(second["candidate_f1_weighted"]) > float(second["champion_f1_weighted"])
    assert third["candidate_f1_weighted"] == third["champion_f1_weighted"] and third["champion_version"] == "2"
    assert stack.champion() == 2


def test_a_race_does_not_promote_the_worse(stack: Stack, listings: list[Listing]) -> None:
    """Four trainers end at about the same time, two of each kind: two versions, and the better one is champion."""
    bad = stack.put(mislabelled(listings, is_held_out), "bad")
    good = stack.put(listings, "good")
    started = [stack.start(TRAINING_DATA=data) for data in (good, bad, good, bad)]
    told = [process.communicate(timeout=200) for process in started]
    assert [process.returncode for process in started] == [0] * 4, told
    tags = {int(each["version"]): each["tags"] for each in stack.versions()}
    assert len(tags) == 2 and all("promotion" in each for each in tags.values())
    best = max(tags, key=lambda number: float(tags[number]["candidate_f1_weighted"]))
    assert stack.champion() == best
    assert sum("was trained before" in out for out, _ in told) == 2


@pytest.mark.full
def test_a_damaged_champion_is_replaced(stack: Stack, listings: list[Listing]) -> None:
    """A champion whose files changed on S3 is known by their hash, said, and gives way."""
    good = stack.put(listings, "good")
    assert stack.train(TRAINING_DATA=good).returncode == 0
    weights = [key for key in stack.keys("mlflow", "") if key.endswith("weights.npz")]
    for key in weights:
        stack.put_object(key, b"not these", bucket="mlflow")
    bad = stack.put(mislabelled(listings, is_held_out), "bad")
    done = stack.train(TRAINING_DATA=bad)
    assert "champion: the champion, version 1, is damaged (weights.npz is not the file" in done.stdout, done.stderr
    assert stack.champion() == 2
