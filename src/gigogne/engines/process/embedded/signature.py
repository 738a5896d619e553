"""One signed request to an S3 server: the list of buckets (AWS Signature Version 4, over the standard library)."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import re
from datetime import UTC, datetime
from html import unescape

from gigogne.engines.process.addresses import Endpoint

__all__ = ["S3RefusalError", "list_buckets"]

_EMPTY = hashlib.sha256(b"").hexdigest()


class S3RefusalError(Exception):
    """The server answered with an error; the text is its code (`SignatureDoesNotMatch`)."""


def list_buckets(at: Endpoint, *, key: str, secret: str, timeout: float = 2.0) -> frozenset[str]:
    """The names of the buckets that these credentials own.

    Raises:
        S3RefusalError: The server refuses.
        OSError, http.client.HTTPException: Nothing answers, or not as S3 does.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/us-east-1/s3/aws4_request"
    signed = "host;x-amz-content-sha256;x-amz-date"
    canonical = f"GET\n/\n\nhost:{at}\nx-amz-content-sha256:{_EMPTY}\nx-amz-date:{stamp}\n\n{signed}\n{_EMPTY}"
    message = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    derived = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        derived = hmac.digest(derived, part.encode(), "sha256")
    signature = hmac.digest(derived, message.encode(), "sha256").hex()
    connection = http.client.HTTPConnection(at.address, at.port, timeout=timeout)
    try:
        connection.request(
            "GET",
            "/",
            headers={
                "x-amz-content-sha256": _EMPTY,
                "x-amz-date": stamp,
                "Authorization": f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={signed}, "
                f"Signature={signature}",
            },
        )
        response = connection.getresponse()
        body = response.read(1 << 20).decode(errors="replace")
    finally:
        connection.close()
    if response.status != http.client.OK:
        code = re.search(r"<Code>([^<]*)</Code>", body)
        raise S3RefusalError(code.group(1) if code else f"HTTP status {response.status}")
    return frozenset(unescape(name) for name in re.findall(r"<Name>([^<]*)</Name>", body))
