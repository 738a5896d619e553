"""An application that answers nothing to everything: how fast uvicorn is, and whoever asks it in benchmarks/api.py."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

__all__ = ["app"]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read a request, and answer with an empty object."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})
