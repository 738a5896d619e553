"""The page at `/`, and its files: read once, served from memory, checked by the browser at each visit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

__all__ = ["router"]

FOLDER = Path(__file__).parent / "page"
INDEX = "index.html"
# Not the machine's table of types: on Windows it may call a script plain text, and a browser then refuses it.
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS = {
    # An upgrade is seen at once; what did not change costs an answer of no bytes.
    "Cache-Control": "no-cache",
    # Scripts send the forms: a password never gets into an address where a script is missing.
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class File:
    """A file of the page, as it is sent."""

    body: bytes
    headers: Mapping[str, str]


def router() -> APIRouter:
    """The routes of the page: `/` and `/page/{name}`."""
    files = {path.name: _read(path) for path in FOLDER.iterdir() if path.suffix in TYPES}
    routes = APIRouter(include_in_schema=False)

    @routes.api_route("/", methods=["GET", "HEAD"])
    async def page(request: Request) -> Response:
        return _answer(files[INDEX], request)

    @routes.api_route("/page/{name}", methods=["GET", "HEAD"])
    async def file(name: str, request: Request) -> Response:
        if name not in files:
            raise HTTPException(404)
        return _answer(files[name], request)

    return routes


def _read(path: Path) -> File:
    body = path.read_bytes()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return File(body, {**HEADERS, "Content-Type": TYPES[path.suffix], "ETag": tag})


def _answer(file: File, request: Request) -> Response:
    """The file, or that the browser has it already."""
    known = request.headers.get("if-none-match", "")
    # A proxy that compresses makes the tag a weak one: W/"…".
    if file.headers["ETag"] in known:
        return Response(status_code=304, headers=dict(file.headers))
    return Response(file.body, headers=dict(file.headers))
