"""The busiest routes by the straight way: FastAPI describes them, and takes no part in answering.

Its own way to a route, and through it, takes longer than what is answered there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["StraightRoute", "read_json", "send_json", "shortcut"]

JSON = b"application/json"


class StraightRoute(APIRoute):
    """A route of JSON both ways that answers by itself; its function is there to be described, and to be called."""

    def __init__(self, path: str, endpoint: Any, **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self.app = self.answer

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it; it begins with `scope["route"] = self`."""
        raise NotImplementedError


def shortcut(app: ASGIApp, routes: Iterable[BaseRoute], handlers: Mapping[Any, Any]) -> ASGIApp:
    """An application whose straight routes are found first.

    Args:
        app: What answers all other requests.
        routes: Its routes.
        handlers: What makes answers of its exceptions.
    """
    straight: dict[str, ASGIApp] = {each.path: each.app for each in routes if isinstance(each, StraightRoute)}

    async def find(scope: Scope, receive: Receive, send: Send) -> None:
        known = scope["type"] == "http" and scope["method"] == "POST"
        await (straight.get(scope["path"], app) if known else app)(scope, receive, send)

    expected = {kind: handler for kind, handler in handlers.items() if kind is not Exception}
    return ServerErrorMiddleware(ExceptionMiddleware(find, handlers=expected), handler=handlers[Exception])


async def read_json(scope: Scope, receive: Receive) -> bytes:
    """The whole body of a request that says it is JSON.

    Raises:
        HTTPException: 415, where it does not say so.
    """
    for name, value in scope["headers"]:
        if name == b"content-type" and value.partition(b";")[0].strip().lower() == JSON:
            break
    else:
        raise HTTPException(415, "Send JSON, and say so: Content-Type: application/json.")
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def send_json(send: Send, body: bytes) -> None:
    """Answer with JSON, status 200."""
    headers = [(b"content-length", b"%d" % len(body)), (b"content-type", JSON)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
