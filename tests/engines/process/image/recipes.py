"""What the tests ask of a recipe: its configuration, its steps, what it installs, what it refuses."""

from __future__ import annotations

from collections.abc import Callable

from gigogne.engines.process.image.recipe import ImageConfig, Install, Recipe, Step

__all__ = ["START", "Read", "config", "installs", "refused", "steps"]

Read = Callable[..., Recipe]
START = "FROM python:3.12-slim\n"


def config(recipe: Recipe) -> ImageConfig:
    """The configuration, which there must be."""
    assert recipe.config is not None, recipe.problems
    return recipe.config


def steps(recipe: Recipe) -> tuple[Step, ...]:
    """The steps of the target, which nothing spoils."""
    assert [str(problem) for problem in recipe.problems if problem.fatal] == []
    return recipe.stages[-1].steps


def refused(recipe: Recipe) -> list[tuple[str, str]]:
    """The place and the message of each fatal problem."""
    return [(problem.where, problem.message) for problem in recipe.problems if problem.fatal]


def installs(recipe: Recipe) -> list[Install]:
    """The install commands of every stage."""
    return [step for stage in recipe.stages for step in stage.steps if isinstance(step, Install)]
