"""The application: its routes, and what its refusals say. It runs nothing; `server` does."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from starlette.types import ASGIApp

from fraud.database import Address
from fraud.scoring import routes
from fraud.scoring.history import ConflictError, HistoryError
from fraud.scoring.metrics import Metrics
from fraud.scoring.scorer import Scorer, UnavailableError
from fraud.scoring.segments import SegmentError
from fraud.transactions import COLUMNS, RejectedError
from job.errors import JobError
from web import documentation, problems
from web.auth import Auth
from web.observing import Draining
from web.openapi import describe
from web.probes import probes
from web.straight import shortcut

__all__ = ["create_app"]

ABOUT = """
Whether a card transaction is to be looked at, while it happens. Each is recorded, with what was said of it, before it
is answered. Who tells the truth about transactions, days later, signs in first (`POST /token`). Refusals are problem
details (RFC 9457).
"""
OF_PATH = {"/transactions": (409, 415, 503), "/confirmations": (401, 503)}
REFUSALS = {
    409: "There is another transaction of this number.",
    503: "It cannot answer now, `detail` says why: `Retry-After` says when to ask again.",
}
RETRY = {"Retry-After": "1"}

log = logging.getLogger("fraud.scorer")


def create_app(scorer: Scorer, auth: Auth, address: Address, metrics: Metrics, draining: Draining) -> ASGIApp:
    """The application of these parts.

    Args:
        scorer: Who judges, for as long as the application lives.
        auth: Who may confirm.
        address: The database that confirmations go to.
        metrics: What is scraped.
        draining: Whether the server is about to end.
    """

    @asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        async with scorer.working():
            yield

    app = FastAPI(
        title="Fraud scorer", version="1.0", description=ABOUT, docs_url=None, redoc_url=None, lifespan=living
    )
    problems.add_handlers(app)
    _add_handlers(app)
    scoring = routes.transactions(scorer)
    app.include_router(scoring)
    app.include_router(auth.router)
    app.include_router(routes.confirmations(auth, address, metrics))
    app.include_router(probes(scorer.version, scorer.lacking, metrics, draining))
    app.include_router(documentation.router(app.title))
    app.openapi = describe(app, OF_PATH, REFUSALS)  # type: ignore[method-assign]
    return shortcut(app, scoring.routes, app.exception_handlers)


def _add_handlers(app: FastAPI) -> None:
    @app.exception_handler(RejectedError)
    async def rejected(request: Request, error: RejectedError) -> Response:
        name, _, what = str(error).partition(": ")
        known = name in COLUMNS
        where, said = (f"body.{name}", what) if known else ("body", str(error))
        return problems.mistakes([{"loc": (where,), "msg": said}])

    @app.exception_handler(ConflictError)
    async def conflict(request: Request, error: ConflictError) -> Response:
        return problems.problem(409, "There is another transaction of this trans_num: it is recorded as it was.")

    @app.exception_handler(JobError)
    async def failed(request: Request, error: JobError) -> Response:
        log.warning("%s", error)
        return problems.problem(503, "PostgreSQL did not take it: nothing was recorded, ask again.", RETRY)

    async def unavailable(request: Request, error: Exception) -> Response:
        return problems.problem(503, f"It cannot be scored now: {error}", RETRY)

    for kind in (UnavailableError, HistoryError, SegmentError):
        app.add_exception_handler(kind, unavailable)
