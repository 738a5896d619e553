"""What a builder says, without the secrets among the build arguments: BuildKit writes their values into each step."""

from __future__ import annotations

from gigogne.core.masking import mask
from gigogne.core.model import Build

__all__ = ["conceal"]


def conceal(text: str, build: Build) -> str:
    """The text with each value of a build argument masked that is masked wherever else it is shown."""
    hidden = {value: mask(name, value) for name, value in build.args.items() if value and mask(name, value) != value}
    # The longest first: one may be a part of another.
    for value in sorted(hidden, key=len, reverse=True):
        text = text.replace(value, hidden[value])
    return text
