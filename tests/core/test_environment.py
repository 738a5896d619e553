"""Variables from who runs a project, over all that its files say."""

from __future__ import annotations

from pathlib import Path

from gigogne.core.environment import with_variables
from gigogne.core.model import Project, Service

RAW = {"environment": {"KEPT": "a", "WON": "file", "UNSET": None}}
PROJECT = Project(
    "p",
    Path(),
    (),
    {
        "job": Service("job", environment={"KEPT": "a", "WON": "file"}, raw=RAW),
        "other": Service("other"),
    },
    raw={"name": "p", "services": {"job": RAW, "other": {}}},
)


def test_they_win_in_the_typed_model_and_in_the_one_that_compose_reads() -> None:
    """What is there already stays, but for what has the same name; a dollar sign is doubled for Compose alone."""
    made = with_variables(PROJECT, ["job"], {"WON": "mine", "NEW": "a$b"})
    job = made.services["job"]
    assert job.environment == {"KEPT": "a", "WON": "mine", "NEW": "a$b"}
    assert job.raw["environment"] == {"KEPT": "a", "WON": "mine", "UNSET": None, "NEW": "a$b"}
    assert made.raw["services"]["job"]["environment"] == {"KEPT": "a", "WON": "mine", "UNSET": None, "NEW": "a$$b"}


def test_a_variable_that_nothing_had_set_is_set() -> None:
    """`environment: [UNSET]` says that it does not reach the service; a value from outside does."""
    assert "UNSET" not in with_variables(PROJECT, ["job"], {"UNSET": "now"}).services["job"].unset


def test_other_services_and_the_given_project_are_as_before() -> None:
    """It changes a copy, and of that only the services that are named."""
    made = with_variables(PROJECT, ["job", "nowhere"], {"NEW": "x"})
    assert made.services["other"] == PROJECT.services["other"]
    assert made.raw["services"]["other"] == {}
    assert "NEW" not in PROJECT.services["job"].environment
    assert "NEW" not in RAW["environment"]
    assert with_variables(PROJECT, ["job"], {}) is PROJECT


def test_a_service_without_an_environment_gets_one() -> None:
    """`environment:` need not be there, nor a model of Compose's."""
    bare = Project("p", Path(), (), {"job": Service("job")})
    made = with_variables(bare, ["job"], {"A": "1"})
    assert made.services["job"].environment == {"A": "1"}
    assert made.raw["services"]["job"]["environment"] == {"A": "1"}
