"""Durations and health checks, as Docker reads them."""

from __future__ import annotations

import pytest

from gigogne.core.durations import seconds
from gigogne.core.model import Healthcheck


@pytest.mark.parametrize(
    ("text", "value"), [("1m30s", 90.0), ("500ms", 0.5), ("1h", 3600.0), ("1.5s", 1.5), ("0s", 0.0), ("0", 0.0)]
)
def test_durations(text: str, value: float) -> None:
    """Go's notation, in seconds."""
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "soon", "5", "5 s", "1m x", "-3"])
def test_what_is_no_duration(text: str) -> None:
    """Everything else is refused."""
    with pytest.raises(ValueError, match="no duration"):
        seconds(text)


def test_healthcheck_of_a_dockerfile() -> None:
    """Options in Go's notation, both forms of the command, and NONE; 0 is the default, as Docker has it."""
    flags = {"interval": "1m30s", "timeout": "500ms", "retries": "5", "start-period": "0s", "start-interval": "2s"}
    shell = Healthcheck.of_instruction(["CMD", "curl -f x || exit 1"], flags, exec_form=False)
    assert shell == Healthcheck(("CMD-SHELL", "curl -f x || exit 1"), 90.0, 0.5, 5, 0.0, 2.0)
    assert Healthcheck.of_instruction(["cmd", "a", "b"], {}, exec_form=True) == Healthcheck(("CMD", "a", "b"))
    assert Healthcheck.of_instruction(["NONE"], {}, exec_form=False) == Healthcheck()


@pytest.mark.parametrize(
    ("words", "flags"),
    [([], {}), (["CMD"], {}), (["RUN", "x"], {}), (["CMD", "x"], {"interval": "soon"}), (["CMD", "x"], {"tries": "3"})],
)
def test_a_malformed_healthcheck(words: list[str], flags: dict[str, str]) -> None:
    """What Docker would not take is a ValueError that says why."""
    with pytest.raises(ValueError, match=r"HEALTHCHECK|duration"):
        Healthcheck.of_instruction(words, flags, exec_form=False)
