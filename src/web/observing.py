"""What is seen of every request, and said with every response. Pure ASGI, outermost."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.metrics import Requests

__all__ = ["Draining", "Observed"]

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# The client went away before there was an answer; nginx's word for it.
GONE = 499
CLOSE = (b"connection", b"close")
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]
# Answers are data. Pages have a policy of their own.
POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


class Draining:
    """Whether the server is about to end: it then asks every client to connect anew, elsewhere."""

    def __init__(self) -> None:
        self.begun = False


class Observed:
    """Counts and times what goes through, and adds the headers that every response has.

    Args:
        app: What answers.
        metrics: What is told of it.
        draining: Whether connections end with their next response.
    """

    def __init__(self, app: ASGIApp, metrics: Requests, draining: Draining) -> None:
        self._app, self._metrics, self._draining = app, metrics, draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        status, begin = GONE, time.perf_counter()

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._complete(message)
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            route = scope.get("route")
            handler = route.path if route else "none"
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._metrics.request(method, handler, status, time.perf_counter() - begin)

    def _complete(self, message: Message) -> None:
        """Add the headers that all responses have, where the route did not say otherwise."""
        own = message.get("headers", [])
        names = {name for name, _ in own}
        ours = (*HEADERS, POLICY, CLOSE) if self._draining.begun else (*HEADERS, POLICY)
        # A list of its own: a response that is sent again and again lends us its headers.
        message["headers"] = [*own, *(header for header in ours if header[0] not in names)]
