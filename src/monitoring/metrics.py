"""What Prometheus is told: what the sources have found, and what became of wishes for a retraining."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from monitoring.queue import Queue
from monitoring.retraining import Outcome
from monitoring.source import Source
from monitoring.verdict import Latest

__all__ = ["Metrics"]


class Metrics:
    """All metrics of this program.

    Attributes:
        registry: What is asked for them.
    """

    def __init__(self, drift: Source[Latest], queue: Source[Queue]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.registry.register(_Sources(drift, queue))
        told = "Wishes for a retraining, by what became of them."
        self._retrainings = Counter("catalog_retrainings", told, ["outcome"], registry=self.registry)
        for outcome in Outcome:
            self._retrainings.labels(outcome)

    def count(self, outcome: Outcome) -> None:
        """One more wish for a retraining came to this."""
        self._retrainings.labels(outcome).inc()


class _Sources(Collector):
    """What the sources have found. What is away is left out, so that Prometheus knows that nothing is known."""

    def __init__(self, drift: Source[Latest], queue: Source[Queue]) -> None:
        self._drift, self._queue = drift, queue

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield from self._sources()
        if (latest := self._drift.current()) is not None:
            yield from _drift(latest)
        if (queue := self._queue.current()) is not None:
            yield from _queue(queue)

    def _sources(self) -> Iterator[GaugeMetricFamily]:
        up = _gauge("catalog_monitor_up", "1 where the last look at it succeeded, and is no old one.", "source")
        last = "When the last look at it was that succeeded; 0 for never."
        succeeded = _gauge("catalog_monitor_last_success_timestamp_seconds", last, "source")
        for source in (self._drift, self._queue):
            up.add_metric([source.name], float(source.up()))
            succeeded.add_metric([source.name], source.seen.succeeded)
        yield from (up, succeeded)


def _drift(latest: Latest) -> Iterator[GaugeMetricFamily]:
    verdict = latest.verdict
    ran = _gauge("catalog_drift_last_run_timestamp_seconds", "When the last verdict was given; 0 for never.")
    ran.add_metric([], verdict.at.timestamp() if verdict else 0)
    looked = _gauge("catalog_drift_last_look_timestamp_seconds", "When somebody looked last; 0 for never.")
    looked.add_metric([], latest.looked.timestamp() if latest.looked else 0)
    yield from (ran, looked)
    if verdict is None:
        return
    version = _gauge("catalog_drift_model_version", "The version of the model that it is about.")
    version.add_metric([], verdict.version)
    rows = _gauge("catalog_drift_rows", "Different listings in each sample.", "sample")
    for sample, count in verdict.rows.items():
        rows.add_metric([sample], count)
    score = _gauge("catalog_drift_score", "How much the samples differ.", "part")
    threshold = _gauge("catalog_drift_threshold", "What the score must pass to count as drift.", "part")
    detected = _gauge("catalog_drift_detected", "1 where it does, by the version of the model.", "part", "version")
    for name, part in verdict.parts.items():
        score.add_metric([name], part.score)
        threshold.add_metric([name], part.threshold)
        detected.add_metric([name, str(verdict.version)], float(part.detected))
    yield from (version, rows, score, threshold, detected)


def _queue(queue: Queue) -> Iterator[GaugeMetricFamily]:
    requests = _gauge("catalog_queue_requests", "Requests to ml-worker.", "status")
    for status, count in queue.requests.items():
        requests.add_metric([status], count)
    oldest = _gauge("catalog_queue_oldest_seconds", "For how long the oldest request waits; 0 where none does.")
    oldest.add_metric([], queue.oldest)
    workers = _gauge("catalog_queue_workers", "Programs ml-worker that gave a sign of life in the last minute.")
    workers.add_metric([], queue.workers)
    yield from (requests, oldest, workers)


def _gauge(name: str, told: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, told, labels=labels)
