"""The API's description of itself: FastAPI's, with how each operation may refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.problems import MEDIA_TYPE
from api.schemas import Problem

__all__ = ["describe"]

PLACE = "#/components/schemas/{model}"
REFUSALS = {
    400: "What was sent is no HTTP, or no form.",
    401: "No token, a wrong one, or one that has expired; a wrong name or password.",
    408: "The body took too long.",
    413: "The body is too large.",
    415: "The body is not said to be JSON.",
    422: "The request is not valid: `errors` says where.",
    429: "Too many requests: `Retry-After` says when to ask again.",
    503: "No model is in service: `Retry-After` says when to ask again.",
}
# Which of them an operation may give: any, one with a body, one at this path.
EVERY = (429,)
OF_BODY = (400, 408, 413, 422)
OF_PATH = {
    "/feedback": (401,),
    "/health/ready": (503,),
    "/model": (503,),
    "/predict": (415, 503),
    "/predict/batch": (415, 503),
    "/token": (401,),
}


def describe(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """For `app.openapi`: makes the description, once."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _describe(app)
        return app.openapi_schema

    return openapi


def _describe(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = found["components"]["schemas"]
    problem = Problem.model_json_schema(ref_template=PLACE)
    schemas |= {**problem.pop("$defs"), Problem.__name__: problem}
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path, operations in found["paths"].items():
        for operation in operations.values():
            _add_refusals(operation, path)
    return found


def _add_refusals(operation: dict[str, Any], path: str) -> None:
    """Every one is a problem."""
    body = OF_BODY if "requestBody" in operation else ()
    schema = {"$ref": PLACE.format(model=Problem.__name__)}
    operation["responses"].pop("422", None)
    for status in sorted({*EVERY, *body, *OF_PATH.get(path, ())}):
        operation["responses"][str(status)] = {
            "description": REFUSALS[status],
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
