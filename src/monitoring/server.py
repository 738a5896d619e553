"""`python -m monitoring.server`: drift and the queue for Prometheus; and where Alertmanager asks for a retraining."""

from __future__ import annotations

import asyncio
import hmac
from datetime import timedelta
from functools import partial

import uvicorn
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from monitoring.alerts import PayloadError, wanted
from monitoring.job import run
from monitoring.metrics import Metrics
from monitoring.queue import conninfo, read_queue
from monitoring.retraining import Airflow, AirflowError, Outcome
from monitoring.settings import MonitorSettings, latest, looked
from monitoring.source import Reporter, Source
from monitoring.storage import Storage
from monitoring.verdict import read_latest

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
        written = latest(settings.target), looked(settings.target)
        self._sources = (
            Source("drift", partial(read_latest, storage, *written), every, keep),
            Source("queue", partial(read_queue, conninfo(settings.database_uri)), every, keep),
        )
        self._metrics = Metrics(*self._sources)
        self._token = settings.token.encode()
        login = settings.airflow_user, settings.airflow_password
        self._airflow = Airflow(settings.airflow_url, *login, settings.dag, timedelta(seconds=settings.pause))
        self._turn = asyncio.Lock()
        self._reporter = Reporter("retraining")
        # Runs that failed, so that each is counted once; a monitor that is started anew may count one again.
        self._dead: set[str] = set()
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
            version = wanted(body)
        except PayloadError as error:
            return _refusal(400, f"{error}: send what Alertmanager's webhook sends")
        return JSONResponse({"outcome": "nothing asked for"}) if version is None else await self._retrain(version)

    async def _retrain(self, version: int) -> Response:
        try:
            # One after the other: of two that come at once, the second one sees the run of the first.
            async with self._turn:
                answer = await asyncio.to_thread(self._airflow.retrain, version)
        except AirflowError as error:
            self._metrics.count(Outcome.FAILED)
            self._reporter.fails(str(error))
            return _refusal(503, str(error))
        self._bury(answer.dead)
        self._metrics.count(answer.outcome)
        print(f"retraining {answer.run_id}: {answer.outcome}", flush=True)
        return JSONResponse({"outcome": answer.outcome, "run": answer.run_id})

    def _bury(self, dead: str) -> None:
        """Say and count, once, that a run failed."""
        if dead:
            self._reporter.fails(f"{dead} failed: look at its log in Airflow")
        else:
            self._reporter.works()
        if dead and dead not in self._dead:
            self._dead.add(dead)
            self._metrics.count(Outcome.FAILED)


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
    uvicorn.run(
        monitor.app,
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_level="warning",
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=3,
    )


if __name__ == "__main__":
    run(main)
