"""What a server is asked by those who watch it: whether it lives, whether it is ready, its metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from web.metrics import Requests
from web.observing import Draining
from web.problems import problem
from web.schemas import Live, Ready

__all__ = ["probes"]


def probes(
    model_version: Callable[[], int], lacking: Callable[[], Sequence[str]], metrics: Requests, draining: Draining
) -> APIRouter:
    """How it is.

    Args:
        model_version: Which version of the model answers.
        lacking: Why it cannot be asked, a line each; empty where it can.
        metrics: What is scraped.
        draining: Whether the server is about to end.
    """
    routes = APIRouter(tags=["health"])

    @routes.get("/health/live")
    async def live() -> Live:
        """Whether the process answers: it does. What needs the answer of others is under /health/ready."""
        return Live(status="alive")

    @routes.get("/health/ready", response_model=Ready)
    async def ready() -> Any:
        """Whether it can be asked for what it is there for, and if not, why."""
        reasons = [*(["the server is about to end"] if draining.begun else []), *lacking()]
        if reasons:
            return problem(503, "Not ready: " + "; ".join(reasons), {"Retry-After": "1"}, reasons=reasons)
        return Ready(status="ready", model_version=model_version())

    @routes.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def prometheus() -> Response:
        """The metrics, as Prometheus reads them."""
        return Response(generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return routes
