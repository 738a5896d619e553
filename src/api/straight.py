"""The routes of predictions by the straight way: pydantic alone reads what is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.types import Receive, Scope, Send

from api.schemas import Options
from web.straight import StraightRoute, read_json, send_json

__all__ = ["PredictionRoute"]

# Mistakes that are looked at one by one: each takes microseconds, and a body may have 200,000 of them.
MOST_MISTAKES = 2_000
DEFAULTS = Options()


class PredictionRoute(StraightRoute):
    """A route `(body: a model, top_k: int) -> bytes`."""

    def __init__(self, path: str, endpoint: Callable[..., Awaitable[bytes]], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        assert self.body_field is not None
        self._model: type[BaseModel] = self.body_field.field_info.annotation  # type: ignore[assignment]

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        scope["route"] = self
        body = await read_json(scope, receive)
        try:
            given = self._model.model_validate_json(body)
        except ValidationError as error:
            raise _invalid(error, "body") from None
        await send_json(send, await self.endpoint(given, _options(scope).top_k))


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
