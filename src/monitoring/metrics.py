"""What Prometheus is told: what the sources have found, and what became of wishes for a retraining."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from drift.folder import Latest
from monitoring.queue import Queue
from monitoring.retraining import Outcome
from monitoring.settings import CATALOG
from monitoring.source import Source

__all__ = ["Metrics"]


class Metrics:
    """All metrics of this program.

    Args:
        drift: What is found of drift, by project: what the names of its metrics begin with.
        queue: What is found of the queue, which is the catalogue's.

    Attributes:
        registry: What is asked for them.
    """

    def __init__(self, drift: Mapping[str, Source[Latest]], queue: Source[Queue]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        told = "Wishes for a retraining, by what became of them."
        self._retrainings: dict[str, Counter] = {}
        for project, source in drift.items():
            self.registry.register(_Project(project, source, queue if project == CATALOG else None))
            self._retrainings[project] = Counter(f"{project}_retrainings", told, ["outcome"], registry=self.registry)
            for outcome in Outcome:
                self._retrainings[project].labels(outcome)

    def count(self, project: str, outcome: Outcome) -> None:
        """One more wish for a retraining came to this."""
        self._retrainings[project].labels(outcome).inc()


class _Project(Collector):
    """What the sources of a project have found. What is away is left out, so that Prometheus knows of nothing known."""

    def __init__(self, name: str, drift: Source[Latest], queue: Source[Queue] | None) -> None:
        self._name, self._drift, self._queue = name, drift, queue

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield from self._sources()
        if (latest := self._drift.current()) is not None:
            yield from _drift(f"{self._name}_drift", latest)
        if self._queue and (queue := self._queue.current()) is not None:
            yield from _queue(queue)

    def _sources(self) -> Iterator[GaugeMetricFamily]:
        up = _gauge(f"{self._name}_monitor_up", "1 where the last look at it succeeded, and is no old one.", "source")
        last = "When the last look at it was that succeeded; 0 for never."
        succeeded = _gauge(f"{self._name}_monitor_last_success_timestamp_seconds", last, "source")
        for label, source in (("drift", self._drift), ("queue", self._queue)):
            if source:
                up.add_metric([label], float(source.up()))
                succeeded.add_metric([label], source.seen.succeeded)
        yield from (up, succeeded)


def _drift(name: str, latest: Latest) -> Iterator[GaugeMetricFamily]:
    verdict = latest.verdict
    ran = _gauge(f"{name}_last_run_timestamp_seconds", "When the last verdict was given; 0 for never.")
    ran.add_metric([], verdict.at.timestamp() if verdict else 0)
    looked = _gauge(f"{name}_last_look_timestamp_seconds", "When somebody looked last; 0 for never.")
    looked.add_metric([], latest.looked.timestamp() if latest.looked else 0)
    yield from (ran, looked)
    if verdict is None:
        return
    version = _gauge(f"{name}_model_version", "The version of the model that it is about.")
    version.add_metric([], verdict.version)
    rows = _gauge(f"{name}_rows", "How many listings, or cards, each sample has.", "sample")
    for sample, count in verdict.rows.items():
        rows.add_metric([sample], count)
    score = _gauge(f"{name}_score", "How much the samples differ.", "part")
    threshold = _gauge(f"{name}_threshold", "What the score must pass to count as drift.", "part")
    detected = _gauge(f"{name}_detected", "1 where it does, by the version of the model.", "part", "version")
    for part, said in verdict.parts.items():
        score.add_metric([part], said.score)
        threshold.add_metric([part], said.threshold)
        detected.add_metric([part, str(verdict.version)], float(said.detected))
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
