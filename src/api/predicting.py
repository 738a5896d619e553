"""A product in, its likeliest categories out: answered, counted, and kept."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from api.metrics import Metrics
from api.model import Champion, Likely, Model
from api.schemas import Product
from catalog.names import CATEGORIES

__all__ = ["BusyError", "Keeper", "NoModelError", "Predictor", "Recent"]

# What is kept of each prediction, however many the client asked for.
KEPT = 5
# For so long a batch has the processor to itself: requests that came meanwhile go first.
TURN_SECONDS = 0.002
# Batches that wait or work: the last of them waits for seconds.
MOST_BATCHES = 8
# Predictions whose category is remembered, to count who agrees.
MOST_RECENT = 50_000


class NoModelError(Exception):
    """No model is in service."""


class BusyError(Exception):
    """Too many batches wait."""


class Keeper(Protocol):
    """What keeps documents: it takes them at once, and never fails."""

    def put(self, collection: str, document: dict[str, Any]) -> None:
        """Keep a document in a collection."""


class Recent:
    """The likeliest category of the last predictions, by their ids."""

    def __init__(self, most: int = MOST_RECENT) -> None:
        self._codes: dict[str, int] = {}
        self._order: deque[str] = deque()
        self._most = most

    def add(self, prediction: str, code: int) -> None:
        """Remember one, and forget the oldest when they are too many."""
        self._codes[prediction] = code
        self._order.append(prediction)
        if len(self._order) > self._most:
            del self._codes[self._order.popleft()]

    def agrees(self, prediction: str, code: int) -> str:
        """Whether it was this category: yes, no, or unknown."""
        if (said := self._codes.get(prediction)) is None:
            return "unknown"
        return "yes" if said == code else "no"


class Turns:
    """One batch at a time: a few wait for their turn, and no more do."""

    def __init__(self, most: int = MOST_BATCHES) -> None:
        self._lock, self._free = asyncio.Lock(), most

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it.

        Raises:
            BusyError: Too many wait already.
        """
        if not self._free:
            raise BusyError
        self._free -= 1
        try:
            async with self._lock:
                yield
        finally:
            self._free += 1


@dataclass(frozen=True)
class Predictor:
    """Asks the champion, and sees to it that what it says is counted and kept.

    Attributes:
        champion: Whose model answers.
        keeper: Where predictions go.
        metrics: What is told of them.
        recent: What remembers them.
        turns: Whose turn it is among batches.
    """

    champion: Champion
    keeper: Keeper
    metrics: Metrics
    recent: Recent
    turns: Turns = field(default_factory=Turns)

    def model(self) -> Model:
        """The model in service: one for a whole request, whatever is promoted meanwhile.

        Raises:
            NoModelError: There is none.
        """
        if (model := self.champion.model) is None:
            raise NoModelError
        return model

    def one(self, product: Product, count: int, model: Model, source: str = "one") -> dict[str, Any]:
        """What the model says of a product."""
        likely = model.likeliest(product.designation, product.description, max(count, KEPT))
        made, (best, probability) = uuid.uuid4().hex, likely[0]
        self.keeper.put(
            "predictions",
            {
                "_id": made,
                "at": datetime.now(UTC),
                "designation": product.designation,
                "description": product.description,
                "categories": [{"code": code, "probability": chance} for code, chance in likely[:KEPT]],
                "model_version": model.version.number,
                "source": source,
            },
        )
        self.metrics.prediction(best, probability, model.version.number)
        self.recent.add(made, best)
        return {"id": made, "categories": _named(likely[:count])}

    async def batch(self, products: Sequence[Product], count: int, model: Model) -> list[dict[str, Any]]:
        """What the model says of each; single products get their turn in between, other batches come after.

        Raises:
            BusyError: Too many batches wait.
        """
        answers: list[dict[str, Any]] = []
        async with self.turns.take():
            until = time.perf_counter() + TURN_SECONDS
            for product in products:
                answers.append(self.one(product, count, model, source="batch"))
                if time.perf_counter() > until:
                    await asyncio.sleep(0)
                    until = time.perf_counter() + TURN_SECONDS
        return answers


def _named(likely: Sequence[Likely]) -> list[dict[str, Any]]:
    """As responses have it. A category that is newer than our names has its code for one."""
    return [
        {"code": code, "name": CATEGORIES.get(code, str(code)), "probability": probability}
        for code, probability in likely
    ]
