"""What stands before an application: limits, other sites' pages, observation."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from web.limits import Limits, Rate
from web.metrics import Requests
from web.observing import Draining, Observed

__all__ = ["guard"]


def guard(app: ASGIApp, rate: Rate, metrics: Requests, draining: Draining, origins: Sequence[str] = ()) -> ASGIApp:
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
