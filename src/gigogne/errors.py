"""The errors of Gigogne.

::

    GigogneError                 message, hint, exit_code = 1
    ├── ComposeError        2    the files are wrong: names the file, the line or the key
    ├── UnsupportedError    3    the files are right, this engine cannot run them: lists every problem
    ├── EngineError         4    the engine is missing, broken or out of something it needs
    └── ServiceError             a service failed: carries the service's own exit code

Each message is one that a user can act on: `hint` says what to do next. `cli.commands.main` is the one place
that turns an error into text and an exit code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gigogne.core.model import Problem

__all__ = ["ComposeError", "EngineError", "GigogneError", "ServiceError", "UnsupportedError"]


class GigogneError(Exception):
    """An error that a user can act on.

    Attributes:
        message: What is wrong, in words of the user's own files.
        hint: What to do next; may be empty only where the message says it already.
        exit_code: The exit code of the command that meets this error.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ComposeError(GigogneError):
    """The Compose files, a Dockerfile, or the names given on the command line are wrong."""

    exit_code = 2


class UnsupportedError(GigogneError):
    """The files are right, but the chosen engine cannot honour all of them."""

    exit_code = 3

    def __init__(self, problems: Sequence[Problem], hint: str = "") -> None:
        super().__init__("\n".join(str(problem) for problem in problems), hint)
        self.problems = tuple(problems)


class EngineError(GigogneError):
    """The engine itself is missing or failing, whatever the files say."""

    exit_code = 4


class ServiceError(GigogneError):
    """A service did not start, did not become healthy, or ended with a non-zero exit code."""

    def __init__(self, message: str, hint: str = "", *, service: str, exit_code: int) -> None:
        super().__init__(message, hint)
        self.service = service
        self.exit_code = exit_code
