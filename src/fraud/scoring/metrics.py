"""What Prometheus is told. Bound once: to find a child by its labels costs more than to count."""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import Counter, Gauge, Histogram

from fraud.confirmations import Fate
from web.metrics import ModelMetrics, end_series

__all__ = ["Metrics"]

# A fraud is rare: the scores that matter are near the threshold, and most are next to nothing.
SCORES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SECONDS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics(ModelMetrics):
    """The metrics of the scorer."""

    def __init__(self) -> None:
        super().__init__("scorer", unavailable="unavailable")
        self._transactions = Counter(
            "scorer_transactions_total",
            "Transactions that were scored, each once, by what was said.",
            ("is_fraud", "model_version"),
            registry=self.registry,
        )
        self._score = Histogram(
            "scorer_score", "How likely a fraud transactions were.", buckets=SCORES, registry=self.registry
        )
        self.history_seconds = Histogram(
            "scorer_history_seconds",
            "How long PostgreSQL took to give a card's past.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.waiting = Gauge(
            "scorer_segment_waiting",
            "Transactions that are kept, and that logger_sql has not taken yet.",
            registry=self.registry,
        )
        confirmations = Counter(
            "scorer_confirmations_total", "Confirmations, by what became of them.", ("outcome",), registry=self.registry
        )
        # Series that are there before anything has happened: a rate over what appears later would miss the first.
        self.confirmations = {fate: confirmations.labels(fate.value) for fate in Fate}
        self._of_said = lru_cache(maxsize=64)(self._transactions.labels)

    def transaction(self, is_fraud: bool, score: float, version: int) -> None:
        """Count a transaction."""
        self._of_said("true" if is_fraud else "false", version).inc()
        self._score.observe(score)

    def _forget_others(self, versions: frozenset[str]) -> None:
        end_series(self._transactions, versions)
        self._of_said.cache_clear()
        # There before the first: the one fraud of a new version would be in no rate.
        for version in versions:
            for said in ("true", "false"):
                self._transactions.labels(said, version)
