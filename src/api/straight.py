"""Routes that read a product and `top_k` without a detour: FastAPI's own way takes longer than the prediction."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from api.schemas import Options

__all__ = ["StraightRoute"]

DEFAULTS = Options()


class StraightRoute(APIRoute):
    """A route `(body: a model, top_k: int) -> Response`: described as FastAPI does, read by pydantic alone."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request."""
        endpoint = self.endpoint
        assert self.body_field is not None
        model: type[BaseModel] = self.body_field.field_info.annotation  # type: ignore[assignment]

        async def handle(request: Request) -> Response:
            media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if media_type != "application/json":
                raise HTTPException(415, "Send JSON, and say so: Content-Type: application/json.")
            body = await request.body()
            try:
                given = model.model_validate_json(body)
            except ValidationError as error:
                raise _invalid(error, "body") from None
            return await endpoint(given, _options(request).top_k)  # type: ignore[no-any-return]

        return handle


def _options(request: Request) -> Options:
    if not request.scope["query_string"]:
        return DEFAULTS
    try:
        return Options.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise _invalid(error, "query") from None


def _invalid(error: ValidationError, where: str) -> RequestValidationError:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return RequestValidationError([{**each, "loc": (where, *each["loc"])} for each in found])
