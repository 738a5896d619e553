"""The application: its routes, and what stands before them. It runs nothing; `server` does."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from api import documentation, pages, problems, routes
from api.auth import Auth
from api.limits import Limits, Rate
from api.metrics import Metrics
from api.model import Champion
from api.observing import Draining, Observed
from api.openapi import describe
from api.predicting import BusyError, Keeper, NoModelError, Predictor, Recent
from api.straight import shortcut

__all__ = ["create_app", "guard"]

ABOUT = """
Which category of the marketplace a product belongs to. Whoever may reach it may ask; who gives feedback signs in first
(`POST /token`). Refusals are problem details (RFC 9457).
"""


def create_app(champion: Champion, keeper: Keeper, auth: Auth, metrics: Metrics, draining: Draining) -> ASGIApp:
    """The application of these parts.

    Args:
        champion: Whose model answers.
        keeper: What takes predictions and feedback: the outbox.
        auth: Who may give feedback.
        metrics: What is told of predictions.
        draining: Whether the server is about to end.
    """
    app = FastAPI(title="Catalogue API", version="1.0", description=ABOUT, docs_url=None, redoc_url=None)
    predictor = Predictor(champion, keeper, metrics, Recent())
    problems.add_handlers(app)

    @app.exception_handler(NoModelError)
    async def no_model(request: Request, error: NoModelError) -> Response:
        detail = "There is no model in service yet: GET /health/ready says why."
        return problems.problem(503, detail, {"Retry-After": "5"})

    @app.exception_handler(BusyError)
    async def busy(request: Request, error: BusyError) -> Response:
        return problems.problem(429, "Too many batches wait at this moment: ask again in 2 s.", {"Retry-After": "2"})

    predictions = routes.predictions(predictor)
    app.include_router(predictions)
    app.include_router(auth.router)
    app.include_router(routes.feedback(auth, keeper, predictor.recent, metrics))
    app.include_router(routes.model(predictor))
    app.include_router(routes.health(champion, metrics, draining))
    app.include_router(documentation.router())
    app.include_router(pages.router())
    app.openapi = describe(app)  # type: ignore[method-assign]
    return shortcut(app, predictions.routes, app.exception_handlers)


def guard(app: ASGIApp, rate: Rate, metrics: Metrics, draining: Draining, origins: Sequence[str] = ()) -> ASGIApp:
    """The application behind its limits, observed; pages of these other sites may ask, and read refusals too."""
    guarded: ASGIApp = Limits(app, rate)
    if origins:
        guarded = CORSMiddleware(
            guarded,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Retry-After", "WWW-Authenticate"],
            max_age=600,
        )
    return Observed(guarded, metrics, draining)
