"""Refusals: every answer that is no success is a problem of RFC 9457, and tells nothing of what is inside."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

__all__ = ["add_handlers", "mistakes", "problem"]

MEDIA_TYPE = "application/problem+json"
# Of a batch of wrong products.
MOST_ERRORS = 20
SAID = {
    400: "The body cannot be read: send JSON in UTF-8.",
    404: "There is no such page: /docs has what there is.",
    405: "This method does not go with this address: /docs has those that do.",
    500: "The server failed. What happened is in its log.",
}


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """A response that says what went wrong and what to do."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    # In ASCII: what a client sent is quoted, and may be no valid Unicode.
    return Response(json.dumps(body), status, headers, MEDIA_TYPE)


def add_handlers(app: FastAPI) -> None:
    """Make problems of all that FastAPI and the routes raise."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        own = error.detail != HTTPStatus(error.status_code).phrase
        detail = str(error.detail) if own else SAID.get(error.status_code, error.detail)
        return problem(error.status_code, detail, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return mistakes(error.errors())

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return problem(500, SAID[500])


def mistakes(errors: Sequence[Any]) -> Response:
    """What pydantic found, by place; never the values."""
    named = [{"where": ".".join(map(str, each["loc"])), "what": _what(each)} for each in errors[:MOST_ERRORS]]
    first = f"{named[0]['where']}: {named[0]['what']}"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return problem(422, f"The request is not valid. {first}{more}", errors=named)


def _what(error: Any) -> str:
    return str(error["msg"]).removeprefix("Value error, ")
