"""A transaction in, what is said of it out: once, whatever is asked again, and whatever is killed when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any

from fraud.features import Transaction
from fraud.names import MODEL
from fraud.scoring.handover import Handover
from fraud.scoring.history import CONNECTIONS, ConflictError, History
from fraud.scoring.metrics import Metrics
from fraud.scoring.model import Champion, Model, Thresholds
from fraud.scoring.said import Said, read, transaction
from fraud.scoring.segments import Segments

__all__ = ["Scorer", "UnavailableError"]


class UnavailableError(Exception):
    """Nothing can be scored now, for this reason."""


class Cards:
    """One transaction of a card at a time: the next one sees the last one in its past."""

    def __init__(self) -> None:
        self._locks: dict[int, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def turn(self, card: int) -> AsyncIterator[None]:
        """Wait for the card's turn, in the order of coming, and have it."""
        lock, waiting = self._locks.get(card) or (asyncio.Lock(), 0)
        self._locks[card] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks.pop(card)
            if waiting > 1:
                self._locks[card] = lock, waiting - 1


class Scorer:
    """Judges transactions by the champion and their card's past, and keeps what it says. It belongs to one event loop.

    Args:
        champion: Whose model judges.
        thresholds: Those of all versions that did.
        history: The past that is in the table.
        handover: The past that is not in it yet.
        segments: What keeps what is said.
        metrics: What is told of it.
    """

    def __init__(
        self,
        champion: Champion,
        thresholds: Thresholds,
        history: History,
        handover: Handover,
        segments: Segments,
        metrics: Metrics,
    ) -> None:
        self._champion, self._thresholds, self._history = champion, thresholds, history
        self._handover, self._segments, self._metrics = handover, segments, metrics
        self._cards, self._numbers = Cards(), set[str]()
        self._threads = ThreadPoolExecutor(CONNECTIONS, "scorer")
        self._asked = set[asyncio.Task[Said]]()

    def lacking(self) -> list[str]:
        """Why nothing can be scored, a line each; empty where it can."""
        troubles = (self._history.trouble, self._handover.trouble, self._segments.trouble)
        return [*self._champion.lacking(), *filter(None, troubles)]

    def version(self) -> int:
        """The version of the model in service; 0 for none."""
        model = self._champion.model
        return 0 if model is None else model.number

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Write what is said, and follow the logger, while this holds; after it, all that was said is in batches."""
        self._segments.start()
        following = asyncio.create_task(self._handover.follow())
        try:
            yield
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
            await asyncio.gather(*self._asked, return_exceptions=True)
            await self._segments.close()
            self._threads.shutdown()

    async def score(self, body: bytes) -> dict[str, Any]:
        """What is said of a transaction, as it is answered; what was said, where it was asked for before.

        Raises:
            RejectedError: It is no transaction.
            ConflictError: There is another one of the same number.
            UnavailableError: There is no model, or too much waits for logger_sql.
            HistoryError: PostgreSQL cannot be asked.
            SegmentError: The disk does not take it.
        """
        values = read(body)
        now = transaction(values)
        # Who asks may be gone by then: what is on its way to the disk is remembered nevertheless, in its card's turn.
        saying = asyncio.create_task(self._said(values, now))
        self._asked.add(saying)
        saying.add_done_callback(self._asked.discard)
        return self._answer(now.trans_num, await asyncio.shield(saying))

    async def _said(self, values: tuple[str, ...], now: Transaction) -> Said:
        """What is said of a transaction, or was."""
        async with self._cards.turn(now.cc_num):
            said = self._handover.said(now.trans_num)
            if said is None:
                return await self._say(values, now)
            if said.values != values:
                raise ConflictError
            return said

    async def _say(self, values: tuple[str, ...], now: Transaction) -> Said:
        """Judge a transaction that waits nowhere, and keep what is said; or find what was said of it."""
        model = self._champion.model
        if model is None or self._handover.trouble:
            raise UnavailableError(self._champion.reason if model is None else self._handover.trouble)
        if now.trans_num in self._numbers:  # of another card, since this one has its turn
            raise ConflictError
        self._numbers.add(now.trans_num)
        try:
            # What waits is looked at first: what is taken meanwhile is in the table then.
            own = self._handover.of_card(now.cc_num)
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._threads, self._judge, model, values, now, own)
            if isinstance(found, Said):
                return found
            said = Said(values, found >= model.detector.threshold, found, model.number)
            batch = await self._segments.append(said.line())
            self._handover.add(batch, now, said)
        finally:
            self._numbers.discard(now.trans_num)
        self._metrics.transaction(said.is_fraud, found, model.number)
        return said

    def _judge(self, model: Model, values: tuple[str, ...], now: Transaction, own: list[Transaction]) -> float | Said:
        past, known = self._history.past(now)
        if known:
            return self._history.said(values, now.trans_num)
        there = {row.trans_num for row in past}
        return model.score(now, past + [row for row in own if row.trans_num not in there])

    def _answer(self, trans_num: str, said: Said) -> dict[str, Any]:
        version = said.model_version
        return {
            "trans_num": trans_num,
            "is_fraud": said.is_fraud,
            "score": said.score,
            "threshold": None if version is None else self._thresholds.of(version),
            "model": None if version is None else {"name": MODEL, "version": version},
        }
