"""What Prometheus is told. Bound once: to find a child by its labels costs more than to count."""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import Counter, Histogram

from web.metrics import ModelMetrics, end_series

__all__ = ["Metrics"]

CONFIDENCE = tuple(step / 20 for step in range(1, 21))


class Metrics(ModelMetrics):
    """The metrics of the API; the outbox adds its to their registry."""

    def __init__(self) -> None:
        super().__init__("api", unavailable="no_model")
        self._predictions = Counter(
            "api_predictions_total",
            "Products, by likeliest category.",
            ("code", "model_version"),
            registry=self.registry,
        )
        self.confidence = Histogram(
            "api_prediction_confidence",
            "The probability of the likeliest category.",
            buckets=CONFIDENCE,
            registry=self.registry,
        )
        feedback = Counter(
            "api_feedback_total", "Feedback, by whether people agree.", ("agrees",), registry=self.registry
        )
        self.feedback = {word: feedback.labels(word) for word in ("yes", "no", "unknown")}
        self._of_code = lru_cache(maxsize=256)(self._predictions.labels)

    def prediction(self, code: int, probability: float, version: int) -> None:
        """Count a product."""
        self._of_code(code, version).inc()
        self.confidence.observe(probability)

    def _forget_others(self, versions: frozenset[str]) -> None:
        end_series(self._predictions, versions)
        self._of_code.cache_clear()
