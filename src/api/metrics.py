"""What Prometheus is told. Bound once: to find a child by its labels costs more than to count."""

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

__all__ = ["Metrics"]

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CONFIDENCE = tuple(step / 20 for step in range(1, 21))
REASONS = ("rate", "size", "auth", "validation", "slow", "no_model")


class Metrics:
    """The metrics of one process, in a registry of their own; the outbox adds its to it."""

    def __init__(self) -> None:
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
            "api_refused_total", "Requests that were refused, by reason.", ("reason",), registry=registry
        )
        self._predictions = Counter(
            "api_predictions_total", "Products, by likeliest category.", ("code", "model_version"), registry=registry
        )
        self.confidence = Histogram(
            "api_prediction_confidence",
            "The probability of the likeliest category.",
            buckets=CONFIDENCE,
            registry=registry,
        )
        self._versions: tuple[int, ...] = ()
        self.model_version = Gauge("api_model_version", "The version in service; 0 for none.", registry=registry)
        self.model_created = Gauge(
            "api_model_created_timestamp_seconds", "When the version in service was registered.", registry=registry
        )
        self._loads = Counter("api_model_loads_total", "Versions loaded, or not.", ("outcome",), registry=registry)
        self.model_checked = Gauge(
            "api_model_last_check_timestamp_seconds",
            "When MLflow last answered which version it is.",
            registry=registry,
        )
        self._feedback = Counter(
            "api_feedback_total", "Feedback, by whether people agree.", ("agrees",), registry=registry
        )
        # Series that are there before anything has happened: a rate over what appears later would miss the first.
        for reason in REASONS:
            self._refused.labels(reason)
        self.loaded, self.load_failed = self._loads.labels("loaded"), self._loads.labels("failed")
        self.feedback = {word: self._feedback.labels(word) for word in ("yes", "no", "unknown")}
        self._of_request = lru_cache(maxsize=1024)(self._bind)
        self._of_code = lru_cache(maxsize=256)(self._predictions.labels)

    def request(self, method: str, handler: str, status: int, seconds: float, reason: str) -> None:
        """Count a request."""
        count, duration = self._of_request(method, handler, status)
        count.inc()
        duration.observe(seconds)
        if reason:
            self._refused.labels(reason).inc()

    def prediction(self, code: int, probability: float, version: int) -> None:
        """Count a product."""
        self._of_code(code, version).inc()
        self.confidence.observe(probability)

    def serves(self, version: int, created: float) -> None:
        """A version is in service. What is counted of those before the last one ends here: Prometheus has it."""
        self.loaded.inc()
        self.model_version.set(version)
        self.model_created.set(created)
        self._versions = (*self._versions[-1:], version)
        kept = set(map(str, self._versions))
        counted = [sample.labels for metric in self._predictions.collect() for sample in metric.samples]
        for labels in counted:
            if labels["model_version"] not in kept:
                self._predictions.remove(labels["code"], labels["model_version"])
        self._of_code.cache_clear()

    def _bind(self, method: str, handler: str, status: int) -> tuple[Counter, Histogram]:
        return self._requests.labels(method, handler, status), self._duration.labels(method, handler)
