"""SCRAM-SHA-256 (RFC 5802, RFC 7677) as a client: a login that sends no password, and in which both sides prove it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import stringprep
import unicodedata

__all__ = ["Scram"]


class Scram:
    """One login, without channel binding.

    Its three methods take the server's messages in turn, and raise ValueError or KeyError where one is not right.
    """

    def __init__(self, user: str, password: str) -> None:
        self._password = _prepared(password).encode()
        self._nonce = secrets.token_urlsafe(18)
        self._bare = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={self._nonce}"
        self._signature = b""

    def first(self) -> str:
        """The first message."""
        return f"n,,{self._bare}"

    def final(self, challenge: str) -> str:
        """The second message, which proves that we know the password."""
        fields = dict(part.split("=", 1) for part in challenge.split(","))
        if not fields["r"].startswith(self._nonce):
            raise ValueError("its nonce is not ours")
        salted = hashlib.pbkdf2_hmac("sha256", self._password, base64.b64decode(fields["s"]), int(fields["i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        plain = f"c=biws,r={fields['r']}"
        message = f"{self._bare},{challenge},{plain}".encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
        self._signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
        proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
        return f"{plain},p={base64.b64encode(proof).decode()}"

    def verify(self, answer: str) -> None:
        """The server's proof."""
        if not hmac.compare_digest(answer.removeprefix("v=").encode(), base64.b64encode(self._signature)):
            raise ValueError("it does not prove that it knows the password")


def _prepared(password: str) -> str:
    """The password by SASLprep (RFC 4013), so that the same characters typed in another way are the same."""
    mapped = (" " if stringprep.in_table_c12(c) else c for c in password if not stringprep.in_table_b1(c))
    return unicodedata.normalize("NFKC", "".join(mapped))
