"""What a client may ask: so often, so much, and in so much time. Pure ASGI, before anything is parsed."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.problems import problem

__all__ = ["Limits", "Rate"]

MOST_BYTES = 2 << 20
# For a whole body; and for the rest of one that was refused.
BODY_SECONDS, REST_SECONDS = 10.0, 2.0
# So much of a body counts as one request more: to read and to predict it takes as long.
BYTES_OF_A_REQUEST = 16 << 10
# Clients that are remembered.
MOST_CLIENTS = 10_000
CLOSE = {"Connection": "close"}
# What asks these is no client: it must hear how the server is, above all when it is busy.
FREE = frozenset({"/health/live", "/health/ready"})
METRICS = "/metrics"
# To write the metrics takes as long as so many requests. Two Prometheus that ask each second have what they need.
SCRAPE_COST, SCRAPES_PER_SECOND, SCRAPES_AT_ONCE = 25, 2.0, 10


class Rate:
    """So many requests a second of each client, and more at once after a while of fewer (GCRA).

    A client is one number: when its next request would be due if they came evenly. `limits` and `throttled-py` are the
    libraries for it; either takes 20 µs a request in memory, a tenth of what a prediction takes.

    Args:
        rate: Requests a second.
        burst: Requests at once.
        now: The clock.
    """

    def __init__(self, rate: float, burst: int, now: Callable[[], float] = time.monotonic) -> None:
        self._step, self._room, self._now = 1 / rate, burst / rate, now
        self._due: dict[str, float] = {}

    def wait(self, client: str) -> float:
        """0 where a request may be made, and it counts; else the seconds until one may be."""
        now = self._now()
        due = max(self._due.get(client, now), now) + self._step
        # Sums of steps are not exact.
        if (late := due - now - self._room) > self._step / 1e6:
            return late
        if len(self._due) >= MOST_CLIENTS and client not in self._due:
            self._forget(now)
        self._due[client] = due
        return 0.0

    def charge(self, client: str, requests: int) -> None:
        """Count so many requests more of a client that was let in: its next one waits for longer."""
        if client in self._due:
            self._due[client] += requests * self._step

    def of_scrapes(self) -> Rate:
        """A rate beside this one, for the metrics."""
        rate, burst = 1 / self._step / SCRAPE_COST, int(self._room / self._step) // SCRAPE_COST
        return Rate(max(rate, SCRAPES_PER_SECOND), max(burst, SCRAPES_AT_ONCE), self._now)

    def _forget(self, now: float) -> None:
        """Drop those who have been quiet; if all are busy, all: memory is bounded, and nobody is shut out."""
        self._due = {client: due for client, due in self._due.items() if due > now}
        if len(self._due) >= MOST_CLIENTS:
            self._due = {}


class Limits:
    """Refuses what is too often (429), too large (413) or too slow (408); the rest goes on with its whole body.

    Args:
        app: What answers.
        rate: How often a client, by its address, may ask.
        body_seconds: How long a body may take.
    """

    def __init__(self, app: ASGIApp, rate: Rate, *, body_seconds: float = BODY_SECONDS) -> None:
        self._app, self._rate, self._scrapes, self._body_seconds = app, rate, rate.of_scrapes(), body_seconds
        slow = f"The body took longer than {body_seconds:g} s: send it at once."
        self._too_slow = problem(408, slow, CLOSE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        client, size = (scope["client"] or ("",))[0], _announced(scope)
        if wait := self._wait(client, scope["path"]):
            after = str(math.ceil(wait))
            headers = {"Retry-After": after} | (CLOSE if size else {})
            refusal = problem(429, f"Too many requests: ask again in {after} s.", headers)
            return await (_refuse(refusal, scope, receive, send) if size else refusal(scope, receive, send))
        if size == 0:
            return await self._app(scope, receive, send)
        if size > MOST_BYTES:
            return await _refuse(TOO_LARGE, scope, receive, send)
        try:
            async with asyncio.timeout(self._body_seconds):
                body = await _read(receive)
        except TimeoutError:
            return await self._too_slow(scope, receive, send)
        if body is None:
            return None
        self._rate.charge(client, len(body) // BYTES_OF_A_REQUEST)
        if len(body) > MOST_BYTES:
            return await _refuse(TOO_LARGE, scope, receive, send)
        return await self._app(scope, _replay(body, receive), send)

    def _wait(self, client: str, path: str) -> float:
        if path in FREE:
            return 0.0
        return (self._scrapes if path == METRICS else self._rate).wait(client)


TOO_LARGE = problem(413, f"The body is larger than {MOST_BYTES >> 20} MiB: send less at a time.", CLOSE)


def _announced(scope: Scope) -> int:
    """The size of the body by its header: 0 where there is none, 1 where it is told in chunks."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
        if name == b"transfer-encoding":
            return 1
    return 0


async def _read(receive: Receive) -> bytes | None:
    """The whole body, or the beginning of one that is too large; None where the client has gone."""
    parts: list[bytes] = []
    size, more = 0, True
    while more and size <= MOST_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size, more = size + len(parts[-1]), message.get("more_body", False)
    return b"".join(parts)


async def _refuse(refusal: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a request, and hear the rest of its body for a moment: who is hung up on while it sends sees no answer."""

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            return
        await send({**message, "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(REST_SECONDS):
                while (await receive()).get("more_body", False):
                    pass
        await send({"type": "http.response.body", "body": b""})

    await refusal(scope, receive, answer)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Gives the body, then whatever comes."""
    first: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def again() -> Message:
        nonlocal first
        if first is None:
            return await receive()
        message, first = first, None
        return message

    return again
