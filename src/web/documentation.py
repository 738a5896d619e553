"""`/docs`: Swagger UI over a server's own description, from this server alone: it works without the internet."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Response
from starlette.exceptions import HTTPException

__all__ = ["router"]

FOLDER = Path(__file__).parent / "docs"
# A wheel with Swagger UI's own files, which follows its releases.
SWAGGER = "fastapi_swagger.resources"
TYPES = {
    "favicon-32x32.png": "image/png",
    "start.js": "text/javascript; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
}
# Swagger UI styles its elements itself, and has pictures in its style sheet.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}


def router(title: str) -> APIRouter:
    """The routes of the documentation of what has this title: `/docs` and `/docs/{name}`."""
    document = (FOLDER / "index.html").read_text(encoding="utf-8").replace("TITLE", escape(title))
    routes = APIRouter(include_in_schema=False)

    @routes.get("/docs")
    def page() -> Response:
        return Response(document, headers=HEADERS, media_type="text/html")

    @routes.get("/docs/{name}")
    def file(name: str) -> Response:
        if name not in TYPES:
            raise HTTPException(404)
        place = FOLDER if (FOLDER / name).is_file() else files(SWAGGER)
        return Response((place / name).read_bytes(), headers={**HEADERS, "Content-Type": TYPES[name]})

    return routes
