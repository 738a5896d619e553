"""What Prometheus is told of requests. Bound once: to find a child by its labels costs more than to count."""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

__all__ = ["ModelMetrics", "Requests", "end_series"]

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
REFUSED = {
    400: "validation",
    401: "auth",
    408: "slow",
    413: "size",
    415: "validation",
    422: "validation",
    429: "rate",
}


class Requests:
    """The requests of one process, in a registry of their own, to which a server adds what else it counts.

    Args:
        server: What the names of its own metrics begin with.
        unavailable: Why it answers with 503.

    Attributes:
        registry: What is scraped.
    """

    def __init__(self, server: str, unavailable: str) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._requests = Counter("http_requests_total", "Requests.", ("method", "handler", "status"), registry=registry)
        self._duration = Histogram(
            "http_request_duration_seconds",
            "How long requests took.",
            ("method", "handler"),
            buckets=SECONDS,
            registry=registry,
        )
        self._refused = Counter(
            f"{server}_refused_total", "Requests that were refused, by reason.", ("reason",), registry=registry
        )
        self._reasons = {**REFUSED, 503: unavailable}
        # Series that are there before anything has happened: a rate over what appears later would miss the first.
        for reason in set(self._reasons.values()):
            self._refused.labels(reason)
        self._of_request = lru_cache(maxsize=1024)(self._bind)

    def request(self, method: str, handler: str, status: int, seconds: float) -> None:
        """Count a request; one about health is never refused."""
        count, duration = self._of_request(method, handler, status)
        count.inc()
        duration.observe(seconds)
        if status in self._reasons and not handler.startswith("/health"):
            self._refused.labels(self._reasons[status]).inc()

    def _bind(self, method: str, handler: str, status: int) -> tuple[Counter, Histogram]:
        return self._requests.labels(method, handler, status), self._duration.labels(method, handler)


class ModelMetrics(Requests):
    """The metrics of a server that answers with the champion of a registry.

    Args:
        server: What the names of its own metrics begin with.
        unavailable: Why it answers with 503.
    """

    def __init__(self, server: str, unavailable: str) -> None:
        super().__init__(server, unavailable)
        self._version = Gauge(f"{server}_model_version", "The version in service; 0 for none.", registry=self.registry)
        self._created = Gauge(
            f"{server}_model_created_timestamp_seconds",
            "When the version in service was registered.",
            registry=self.registry,
        )
        loads = Counter(f"{server}_model_loads_total", "Versions loaded, or not.", ("outcome",), registry=self.registry)
        self._loaded, self._failed = loads.labels("loaded"), loads.labels("failed")
        self._checked = Gauge(
            f"{server}_model_last_check_timestamp_seconds",
            "When MLflow last answered which version it is.",
            registry=self.registry,
        )
        self._served: tuple[int, ...] = ()

    def checked(self) -> None:
        """MLflow has answered which version it is."""
        self._checked.set_to_current_time()

    def failed(self) -> None:
        """A version could not be loaded."""
        self._failed.inc()

    def serves(self, version: int, created: float) -> None:
        """A version is in service. What is counted of those before the last one ends here: Prometheus has it."""
        self._loaded.inc()
        self._version.set(version)
        self._created.set(created)
        self._served = (*self._served[-1:], version)
        self._forget_others(frozenset(map(str, self._served)))

    def _forget_others(self, versions: frozenset[str]) -> None:
        """End the series of other versions than these: a server that counts by version has some."""


def end_series(counter: Counter, versions: frozenset[str]) -> None:
    """End those series of a counter whose label `model_version` is none of these."""
    names = counter._labelnames
    counted = [sample.labels for metric in counter.collect() for sample in metric.samples]
    for labels in counted:
        if labels["model_version"] not in versions:
            counter.remove(*(labels[name] for name in names))
