"""Secrets of a service's environment, told to Airflow's own masker, which hides them in all that a task logs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from gigogne.core.masking import is_secret_name, mask, passwords

__all__ = ["mask_secrets", "masked", "secret_values"]


_LINE = 8  # shorter lines of a long secret (a brace, a comma) are in every log


def secret_values(environment: Mapping[str, str], public: Collection[str] = ()) -> list[str]:
    """What of these variables nobody may read: values of secret variables, and the passwords in URLs.

    Of a value with several lines (a key file) each line counts, since a log has them one by one. What is `public` is no
    secret: the password of `postgres` that is `postgres` would hide the server's name, and nothing else.
    """
    found = {secret for name, value in environment.items() for secret in _secrets_in(name, value)}
    return sorted(found.difference(public))


def mask_secrets(environment: Mapping[str, str], public: Collection[str] = ()) -> None:
    """Have Airflow hide the secrets of these variables, in this process and in the one that supervises it."""
    from airflow.sdk.log import mask_secret

    if secrets := secret_values(environment, public):
        mask_secret([*secrets])  # one message for all


def masked(value: Any) -> Any:
    """A value of plain JSON types, each secret that is known in it hidden: an XCom is read by many."""
    from airflow.sdk.log import redact  # type: ignore[attr-defined]

    if isinstance(value, dict):
        return {key: masked(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner) for inner in value]
    return redact(value) if isinstance(value, str) else value


def _secrets_in(name: str, value: str) -> Iterator[str]:
    if is_secret_name(name) and mask(name, value) != value:
        yield value
        yield from (line.strip() for line in value.splitlines() if len(line.strip()) >= _LINE)
    for password in passwords(value):
        yield password
        yield unquote(password)
