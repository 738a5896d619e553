"""`python -m monitoring.server`: drift and the queue for Prometheus; and where Alertmanager asks for a retraining."""

from __future__ import annotations

import asyncio
import hmac
from datetime import timedelta
from functools import partial
from typing import Any

import uvicorn
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from job.program import run
from job.storage import Storage
from monitoring.alerts import PayloadError, Wish, wanted
from monitoring.metrics import Metrics
from monitoring.queue import conninfo, read_queue
from monitoring.retraining import Airflow, AirflowError, Outcome
from monitoring.settings import MonitorSettings, Project
from monitoring.source import Reporter, Source

__all__ = ["Monitor", "main"]

# A value is shown for so many looks without an answer: one that is lost is no outage.
KEPT_LOOKS = 4
# Seconds, for an answer of S3; for the body of a request.
STORAGE_PATIENCE, BODY_PATIENCE = 5.0, 5.0
LARGEST_BODY = 1 << 20
CONNECTIONS = 64


class Monitor:
    """The program that stays up.

    Args:
        settings: What it is told.

    Raises:
        SettingError: The database or S3 is told of in a way that cannot be used.
    """

    def __init__(self, settings: MonitorSettings) -> None:
        storage = Storage(STORAGE_PATIENCE, tries=1)
        every, keep = settings.poll, settings.poll * KEPT_LOOKS
        drift = {
            each.name: Source(
                each.prefixed("drift"), partial(each.folder.read_latest, storage, each.model), every, keep
            )
            for each in settings.projects
        }
        queue = Source("queue", partial(read_queue, conninfo(settings.database_uri)), every, keep)
        self._sources: tuple[Source[Any], ...] = (*drift.values(), queue)
        self._metrics = Metrics(drift, queue)
        self._token = settings.token.encode()
        self._trainers = {each.name: Trainer(each, settings) for each in settings.projects}
        self._turn = asyncio.Lock()
        self.app = Starlette(
            routes=[
                Route("/metrics", self.metrics),
                Route("/alerts", self.alerts, methods=["POST"]),
                Route("/health", self.health),
            ]
        )

    def start(self) -> None:
        """Begin to look at the sources."""
        for source in self._sources:
            source.start()

    async def health(self, request: Request) -> Response:
        """It answers: what it looks at may be away."""
        return PlainTextResponse("ok\n")

    async def metrics(self, request: Request) -> Response:
        """All metrics, of what is known now."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self._metrics.registry), headers={"Content-Type": content_type})

    async def alerts(self, request: Request) -> Response:
        """Alertmanager's webhook."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self._token):
            return _refusal(401, "show the token of MONITOR_TOKEN_FILE", {"WWW-Authenticate": "Bearer"})
        try:
            async with asyncio.timeout(BODY_PATIENCE):
                body = await _body(request)
        except TimeoutError:
            return _refusal(408, f"the body did not come within {BODY_PATIENCE:g} s", {"Connection": "close"})
        if body is None:
            return _refusal(413, f"more than {LARGEST_BODY} bytes", {"Connection": "close"})
        try:
            wish = wanted(body)
        except PayloadError as error:
            return _refusal(400, f"{error}: send what Alertmanager's webhook sends")
        if wish is None:
            return JSONResponse({"outcome": "nothing asked for"})
        if wish.project not in self._trainers:
            return _refusal(400, f"the label project names none of {', '.join(self._trainers)}: correct the rule")
        return await self._retrain(self._trainers[wish.project], wish)

    async def _retrain(self, trainer: Trainer, wish: Wish) -> Response:
        try:
            # One after the other: of two that come at once, the second one sees the run of the first.
            async with self._turn:
                answer = await asyncio.to_thread(trainer.airflow.retrain, wish.version)
        except AirflowError as error:
            self._metrics.count(wish.project, Outcome.FAILED)
            trainer.reporter.fails(str(error))
            return _refusal(503, str(error))
        if trainer.buries(answer.dead):
            self._metrics.count(wish.project, Outcome.FAILED)
        self._metrics.count(wish.project, answer.outcome)
        print(f"{trainer.what} {answer.run_id}: {answer.outcome}", flush=True)
        return JSONResponse({"outcome": answer.outcome, "run": answer.run_id})


class Trainer:
    """Whom monitor asks for retrainings of a project's model, and what it has said of them.

    Args:
        project: The project.
        settings: Where Airflow is.
    """

    def __init__(self, project: Project, settings: MonitorSettings) -> None:
        login = settings.airflow_user, settings.airflow_password
        pause = timedelta(seconds=settings.pause)
        self.airflow = Airflow(settings.airflow_url, *login, project.dag, pause, project.setting)
        self.what = project.prefixed("retraining")
        self.reporter = Reporter(self.what)
        # Runs that failed, so that each is counted once; a monitor that is started anew may count one again.
        self._dead: set[str] = set()

    def buries(self, dead: str) -> bool:
        """Say that a run failed, or that none did; whether it is to be counted: once."""
        if not dead:
            self.reporter.works()
            return False
        self.reporter.fails(f"{dead} failed: look at its log in Airflow")
        new = dead not in self._dead
        self._dead.add(dead)
        return new


async def _body(request: Request) -> bytes | None:
    """The body; None where it is too large, of which no more is read then."""
    parts = bytearray()
    async for part in request.stream():
        parts += part
        if len(parts) > LARGEST_BODY:
            return None
    return bytes(parts)


def _refusal(status: int, why: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"detail": why}, status, headers)


def main() -> None:
    """Stay up until SIGTERM."""
    settings = MonitorSettings.read()
    monitor = Monitor(settings)
    monitor.start()
    config = uvicorn.Config(
        monitor.app,
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_level="warning",
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=3,
    )
    # Not uvicorn.run: it would keep to itself by which signal this ends.
    uvicorn.Server(config).run()


if __name__ == "__main__":
    run(main)
