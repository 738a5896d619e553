"""The scorer as a client sees it: it takes transactions and confirmations, refuses them, or is away for a while."""

from __future__ import annotations

import json
from collections.abc import Sequence
from threading import Lock
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

from fraud.generator import Truth
from job.errors import SettingError

__all__ = ["AwayError", "Client", "RefusedError"]

PATIENCE = urllib3.Timeout(connect=3.0, read=10.0)
LONGEST_PAUSE = 30.0
# Asked again later, it may well take them.
LATER = frozenset({408, 425, 429})
SHOWN = 300


class AwayError(Exception):
    """The scorer is not there, or not ready, or busy: ask again, after `pause` seconds where it said so."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


class RefusedError(Exception):
    """The scorer will never take this; the reason is its own."""


class Client:
    """Asks the scorer over connections that stay open; may be used by several threads.

    Args:
        url: Its address, `http://scorer:8002` say.
        connections: How many are kept open.
        user: The name of who confirms, and the password; without a name nothing can be confirmed.
        password: Is sent to the scorer, and shown nowhere.

    Attributes:
        shown: The address without a user or a password, for messages.
    """

    def __init__(self, url: str, connections: int, user: str, password: str) -> None:
        try:
            address = urllib3.util.parse_url(url)
            self._pool = urllib3.connection_from_url(url, maxsize=connections, retries=False, timeout=PATIENCE)
        except (HTTPError, AssertionError):
            address = urllib3.util.Url()
        if address.scheme not in ("http", "https") or not address.host:
            raise SettingError(f"PLAYER_URL={_shown(url)!r} is not an address: write it as http://scorer:8002")
        self.shown, self._base = _shown(url), (address.path or "").rstrip("/")
        self._sign = {"username": user, "password": password}
        self._token, self._signing_in = "", Lock()

    def score(self, transaction: dict[str, Any]) -> bool:
        """Have a transaction scored and recorded; whether the scorer calls it a fraud.

        Raises:
            AwayError: It was not taken; or it was, and the answer was lost: asked again, it has the same answer.
            RefusedError: It is none that the scorer takes.
        """
        answer = self._post("/transactions", transaction)
        if not isinstance(answer.get("is_fraud"), bool):
            raise RefusedError(f"{self.shown} answers like no scorer: PLAYER_URL may be another server's")
        return bool(answer["is_fraud"])

    def confirm(self, truths: Sequence[Truth]) -> list[str]:
        """Tell the truth about at most a thousand transactions; what became of each.

        Raises:
            AwayError: It was not recorded, or it is not known whether it was.
            RefusedError: The scorer does not take it.
            SettingError: It does not know the user.
        """
        told = [
            {"trans_num": each.trans_num, "is_fraud": each.is_fraud, "confirmed_at": each.confirmed_at.isoformat()}
            for each in truths
        ]
        token = self._token or self._sign_in()
        try:
            answer = self._post("/confirmations", {"confirmations": told}, {"Authorization": f"Bearer {token}"})
        except _UnauthorizedError as error:
            # The token has run out, or the scorer was started again with another key.
            self._token = ""
            raise AwayError(str(error)) from None
        return [str(each["outcome"]) for each in answer["confirmations"]]

    def _sign_in(self) -> str:
        with self._signing_in:
            try:
                self._token = str(self._answer("/token", fields=self._sign, encode_multipart=False)["access_token"])
            except (_UnauthorizedError, KeyError):
                user = self._sign["username"]
                hint = f"the scorer does not know PLAYER_USER={user} with PLAYER_PASSWORD: correct them"
                raise SettingError(hint) from None
        return self._token

    def _post(self, path: str, body: object, headers: dict[str, str] | None = None) -> dict[str, Any]:
        return self._answer(
            path,
            body=json.dumps(body, separators=(",", ":")).encode(),
            headers={"Content-Type": "application/json", **(headers or {})},
        )

    def _answer(self, path: str, **request: Any) -> dict[str, Any]:
        try:
            answer = self._pool.request("POST", f"{self._base}{path}", **request)
            said = answer.json() if answer.status < 500 or answer.data else {}
        except HTTPError as error:
            raise AwayError(f"no answer ({type(error).__name__})") from None
        except ValueError:
            said = {}
        said = said if isinstance(said, dict) else {}
        reason = f"{answer.status} {str(said.get('detail') or answer.reason or '')[:SHOWN]}".strip()
        if answer.status == 401:
            raise _UnauthorizedError(reason)
        if answer.status >= 500 or answer.status in LATER:
            raise AwayError(reason, _seconds(answer.headers.get("Retry-After", "")))
        if answer.status != 200:
            raise RefusedError(reason)
        return said


class _UnauthorizedError(RefusedError):
    """The scorer wants a token, a new one, or another password."""


def _shown(url: str) -> str:
    """An address, or what was meant as one, without the user and the password that may stand before the host."""
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def _seconds(retry_after: str) -> float:
    return min(float(retry_after), LONGEST_PAUSE) if retry_after.isdigit() else 0.0
