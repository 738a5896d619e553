"""The labels `gigogne.airflow.*`: what they set, and how a wrong one is named."""

from __future__ import annotations

from typing import Any

import pytest

from gigogne.airflow.labels import task_options
from gigogne.errors import ComposeError


def read(**labels: str) -> dict[str, Any]:
    """What labels with these names behind the prefix set."""
    return task_options({f"gigogne.airflow.{name}": value for name, value in labels.items()}, lambda _: "f.yml:7")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("retries", "3", 3),
        ("retry_delay", "1m30s", 90.0),
        ("execution_timeout", "2h", 7200.0),
        ("pool", "small", "small"),
        ("pool_slots", "2", 2),
        ("queue", "gpu", "gpu"),
        ("priority_weight", "-5", -5),
        ("skip_on_exit_code", "99", [99]),
        ("skip_on_exit_code", "99, 100", [99, 100]),
        ("defer_after", "500ms", 0.5),
        ("defer_after", "never", None),
    ],
)
def test_labels_set_arguments(name: str, text: str, value: object) -> None:
    """Durations are Compose's, and come out in seconds."""
    assert read(**{name: text}) == {name: value}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("retries", "three", "a whole number from 0 on"),
        ("retries", "-1", "a whole number from 0 on"),
        ("retry_delay", "30", "a duration such as 30s"),
        ("execution_timeout", "0s", "a duration above 0s"),
        ("pool", " ", "a name"),
        ("pool_slots", "0", "a whole number from 1 on"),
        ("priority_weight", "high", "a whole number"),
        ("skip_on_exit_code", "0", "an exit code from 1 to 255"),
        ("skip_on_exit_code", "1;2", "an exit code from 1 to 255"),
        ("defer_after", "soon", "or never"),
    ],
)
def test_a_value_that_is_not_understood_is_refused(name: str, text: str, said: str) -> None:
    """The error has the place of the label, and what to write."""
    with pytest.raises(ComposeError, match=rf"f\.yml:7: the label gigogne\.airflow\.{name} is '{text}'") as caught:
        read(**{name: text})
    assert caught.value.hint.startswith("write ") and said in caught.value.hint


def test_an_unknown_label_is_refused() -> None:
    """With the one that was meant, or with all that there are; labels of others are let be."""
    with pytest.raises(ComposeError, match=r"f\.yml:7: there is no label gigogne\.airflow\.retires") as caught:
        read(retires="3")
    assert caught.value.hint == "did you mean `retries`?"
    with pytest.raises(ComposeError) as caught:
        read(zzz="3")
    assert "retries" in caught.value.hint and "queue" in caught.value.hint
    assert task_options({"gigogne.kind": "job", "traefik.enable": "true"}, str) == {}


@pytest.mark.airflow
def test_trigger_rules_are_airflows() -> None:
    """The names are those of the Airflow that is there."""
    assert read(trigger_rule="none_failed") == {"trigger_rule": "none_failed"}
    with pytest.raises(ComposeError) as caught:
        read(trigger_rule="all_ok")
    assert "all_success" in caught.value.hint
