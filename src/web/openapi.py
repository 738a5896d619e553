"""A server's description of itself: FastAPI's, with how each operation may refuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from web.problems import MEDIA_TYPE
from web.schemas import Problem

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
}
# Which of them an operation may give: any, and one with a body.
EVERY = (429,)
OF_BODY = (400, 408, 413, 422)
# And one at a path that all servers have.
OF_PATH = {"/health/ready": (503,), "/token": (401,)}


def describe(
    app: FastAPI, of_path: Mapping[str, tuple[int, ...]], refusals: Mapping[int, str]
) -> Callable[[], dict[str, Any]]:
    """For `app.openapi`: makes the description, once.

    Args:
        app: What is described.
        of_path: The refusals that the operations at a path may give beside the usual ones.
        refusals: What those are that this application alone has.
    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _describe(app, {**OF_PATH, **of_path}, {**REFUSALS, **refusals})
        return app.openapi_schema

    return openapi


def _describe(app: FastAPI, of_path: Mapping[str, tuple[int, ...]], refusals: Mapping[int, str]) -> dict[str, Any]:
    found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = found["components"]["schemas"]
    problem = Problem.model_json_schema(ref_template=PLACE)
    schemas |= {**problem.pop("$defs"), Problem.__name__: problem}
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path, operations in found["paths"].items():
        for operation in operations.values():
            _add_refusals(operation, of_path.get(path, ()), refusals)
    return found


def _add_refusals(operation: dict[str, Any], more: tuple[int, ...], refusals: Mapping[int, str]) -> None:
    """Every one is a problem."""
    body = OF_BODY if "requestBody" in operation else ()
    schema = {"$ref": PLACE.format(model=Problem.__name__)}
    operation["responses"].pop("422", None)
    for status in sorted({*EVERY, *body, *more}):
        operation["responses"][str(status)] = {
            "description": refusals[status],
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
