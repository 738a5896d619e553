"""The busiest routes by the straight way: FastAPI describes them, and takes no part in answering.

Its own way to a route, and through it, takes longer than the prediction itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from api.schemas import Options

__all__ = ["StraightRoute", "shortcut"]

JSON = b"application/json"
# Mistakes that are looked at one by one: each takes microseconds, and a body may have 200,000 of them.
MOST_MISTAKES = 2_000
DEFAULTS = Options()


class StraightRoute(APIRoute):
    """A route `(body: a model, top_k: int) -> bytes`, JSON both ways, that pydantic alone reads."""

    def __init__(self, path: str, endpoint: Callable[..., Awaitable[bytes]], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        assert self.body_field is not None
        self._model: type[BaseModel] = self.body_field.field_info.annotation  # type: ignore[assignment]
        self.app = self._answer

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self
        _require_json(scope)
        body = await _body(receive)
        try:
            given = self._model.model_validate_json(body)
        except ValidationError as error:
            raise _invalid(error, "body") from None
        answer: bytes = await self.endpoint(given, _options(scope).top_k)
        headers = [(b"content-length", b"%d" % len(answer)), (b"content-type", JSON)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


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


def _require_json(scope: Scope) -> None:
    for name, value in scope["headers"]:
        if name == b"content-type" and value.partition(b";")[0].strip().lower() == JSON:
            return
    raise HTTPException(415, "Send JSON, and say so: Content-Type: application/json.")


async def _body(receive: Receive) -> bytes:
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _options(scope: Scope) -> Options:
    if not scope["query_string"]:
        return DEFAULTS
    try:
        return Options.model_validate(dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)))
    except ValidationError as error:
        raise _invalid(error, "query") from None


def _invalid(error: ValidationError, where: str) -> RequestValidationError:
    if (count := error.error_count()) > MOST_MISTAKES:
        said = f"has {count} mistakes: /docs has what is asked for"
        return RequestValidationError([{"loc": (where,), "msg": said}])
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return RequestValidationError([{**each, "loc": (where, *each["loc"])} for each in found])
