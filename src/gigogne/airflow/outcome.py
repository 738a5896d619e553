"""How a task ends, in Airflow's exceptions: whether a retry can help is the difference between them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NoReturn

from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, AirflowTaskTimeout

from gigogne.airflow.masking import masked
from gigogne.errors import ComposeError, GigogneError, UnsupportedError

__all__ = ["fail", "skip", "time_out", "told"]


@contextlib.contextmanager
def told() -> Iterator[None]:
    """What Gigogne raises in here comes out as Airflow's: wrong files fail for good, the rest may be tried again."""
    try:
        yield
    except GigogneError as error:
        text = error.message + (f"\n  fix: {error.hint}" if error.hint else "")
        final = isinstance(error, ComposeError | UnsupportedError)
        raise (AirflowFailException if final else AirflowException)(masked(text)) from None


def fail(text: str) -> NoReturn:
    """The task has failed, and may be tried again.

    Raises:
        AirflowException: In any case.
    """
    raise AirflowException(masked(text))


def skip(text: str) -> NoReturn:
    """The task is skipped.

    Raises:
        AirflowSkipException: In any case.
    """
    raise AirflowSkipException(text)


def time_out(text: str) -> NoReturn:
    """The task's time is over, and it may be tried again.

    Raises:
        AirflowTaskTimeout: In any case.
    """
    raise AirflowTaskTimeout(text)
