"""What was scored and is not in the table yet: the scorer's own rows, until logger_sql has taken their batch."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from pathlib import Path

from fraud.features import Transaction
from fraud.scoring.history import History, HistoryError
from fraud.scoring.metrics import Metrics
from fraud.scoring.said import Said, transaction
from fraud.scoring.segments import segments
from job.errors import JobError

__all__ = ["Handover"]

POLL_SECONDS = 1.0
# A kilobyte each in memory: half an hour without a logger, at fifty a second.
MOST_WAITING = 100_000
TOO_MANY = (
    f"logger_sql has not taken the last {MOST_WAITING:,} transactions: start it (docker compose up -d logger_live)"
)

log = logging.getLogger("fraud.scorer")


class Handover:
    """The rows that wait for logger_sql. It belongs to one event loop.

    A row is forgotten only when the ledger has its batch: whoever asks the table after that finds it there.

    Args:
        history: Who knows what was taken.
        metrics: What is told of it.
    """

    def __init__(self, history: History, metrics: Metrics) -> None:
        self._history, self._metrics = history, metrics
        self._said: dict[str, Said] = {}
        self._of_card: defaultdict[int, dict[str, Transaction]] = defaultdict(dict)
        self._of_batch: defaultdict[str, list[Transaction]] = defaultdict(list)
        self._sealed: dict[str, Path] = {}

    @property
    def trouble(self) -> str:
        """Why it takes no more; empty where it does."""
        return TOO_MANY if len(self._said) >= MOST_WAITING else ""

    def load(self, folder: Path) -> None:
        """The rows of the segments that are in a folder.

        Raises:
            JobError: One of them cannot be read, or is not as a scorer writes it.
        """
        for segment in segments(folder):
            try:
                content = segment.read_bytes()
            except OSError as error:
                hint = "correct its owner, or move it elsewhere"
                raise JobError(f"cannot read {segment}: {error.strerror}; {hint}") from None
            for number, line in enumerate(content.splitlines(), start=1):
                try:
                    said = Said.of_line(line)
                    self.add(segment.name, transaction(said.values), said)
                except (ValueError, KeyError, TypeError):
                    raise JobError(f"{segment}:{number} is no line of a scorer: move the file elsewhere") from None
            self.sealed(segment)

    def add(self, batch: str, row: Transaction, said: Said) -> None:
        """Remember a row that is on the disk, in the segment that will be this batch."""
        self._said[row.trans_num] = said
        self._of_card[row.cc_num][row.trans_num] = row
        self._of_batch[batch].append(row)
        self._metrics.waiting.set(len(self._said))

    def sealed(self, segment: Path) -> None:
        """Remember that logger_sql may take a segment."""
        self._sealed[segment.name] = segment

    def said(self, trans_num: str) -> Said | None:
        """What was said of a transaction, if it waits."""
        return self._said.get(trans_num)

    def of_card(self, card: int) -> list[Transaction]:
        """The transactions of a card that wait."""
        return list(self._of_card[card].values()) if card in self._of_card else []

    async def follow(self) -> None:
        """Look, for ever, what logger_sql has taken; its segments have done their work."""
        while True:
            try:
                for name in await asyncio.to_thread(self._history.taken, list(self._sealed)):
                    self._forget(name)
                    await asyncio.to_thread(self._remove, self._sealed.pop(name))
            except HistoryError:
                pass  # it says so itself
            except Exception as error:  # whatever a database may answer, this goes on
                log.error("what logger_sql has taken cannot be told: %s: %s", type(error).__name__, error)
            await asyncio.sleep(POLL_SECONDS)

    def _forget(self, batch: str) -> None:
        for row in self._of_batch.pop(batch, ()):
            self._said.pop(row.trans_num, None)
            mine = self._of_card[row.cc_num]
            mine.pop(row.trans_num, None)
            if not mine:
                del self._of_card[row.cc_num]
        self._metrics.waiting.set(len(self._said))

    def _remove(self, segment: Path) -> None:
        try:
            segment.unlink(missing_ok=True)
        except OSError as error:  # it is looked at again at the next start
            log.warning("cannot remove %s: %s", segment, error.strerror)
