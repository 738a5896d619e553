"""The application: its routes. It runs nothing; `server` does."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from starlette.types import ASGIApp

from api import pages, routes
from api.metrics import Metrics
from api.model import Champion
from api.predicting import BusyError, Keeper, NoModelError, Predictor, Recent
from web import documentation, problems
from web.auth import Auth
from web.observing import Draining
from web.openapi import describe
from web.probes import probes
from web.straight import shortcut

__all__ = ["create_app"]

ABOUT = """
Which category of the marketplace a product belongs to. Whoever may reach it may ask; who gives feedback signs in first
(`POST /token`). Refusals are problem details (RFC 9457).
"""
# What an operation may refuse with beside what all servers do.
OF_PATH = {"/feedback": (401,), "/model": (503,), "/predict": (415, 503), "/predict/batch": (415, 503)}
REFUSALS = {503: "No model is in service: `Retry-After` says when to ask again."}


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
    app.include_router(probes(lambda: predictor.model().version.number, champion.lacking, metrics, draining))
    app.include_router(documentation.router(app.title))
    app.include_router(pages.router())
    app.openapi = describe(app, OF_PATH, REFUSALS)  # type: ignore[method-assign]
    return shortcut(app, predictions.routes, app.exception_handlers)
