"""Predictions and feedback on their way to MongoDB, off the path of requests.

A request leaves a document in memory. One thread saves what is there on disk every 50 ms; another one takes it from
there to MongoDB, in batches, and only then is it removed. So a MongoDB that is away, or slow, costs nothing but room; a
`kill -9` costs the last 50 ms; and what was on its way when the process ended is sent again, which doubles nothing.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bson
from prometheus_client import CollectorRegistry, Counter, Gauge

from api.spool import Batch, Bound, Spool
from api.store import Store, StoreError

__all__ = ["Bound", "Outbox"]

COLLECTIONS = ("predictions", "feedback")
# How long a document is in memory alone, and how many are, at most, while the disk is slow.
SAVE_SECONDS, MOST_UNSAVED, MOST_UNSAVED_BYTES = 0.05, 20_000, 64 << 20
# What the disk has at least to save everything in the end.
LAST_SAVE_SECONDS = 5.0
# What is saved at once, and for how long MongoDB's share gathers.
BATCH, SHIP_SECONDS = 1_000, 0.2
# Between two tries: of a disk that takes nothing; of MongoDB, at first and at last.
DISK_PAUSE, SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 0.25, 5.0
# Between two lines that say the same.
QUIET_SECONDS = 60.0

log = logging.getLogger("api.outbox")


class Outbox:
    """Takes documents, and sees to it that MongoDB gets them.

    Args:
        folder: Where they wait; this process's alone.
        uri: The MongoDB.
        registry: Where the metrics are registered.
        bound: How much waits at most; what is over it is lost, counted, and told of.

    Raises:
        SettingError: The folder or the URI cannot be used.
    """

    def __init__(self, folder: Path, uri: str, registry: CollectorRegistry, *, bound: Bound | None = None) -> None:
        self._store = Store(uri)
        self._spool = Spool(folder, bound or Bound())
        self._unsaved: deque[tuple[str, dict[str, Any], int]] = deque()
        # Bytes, each counted by one thread alone; what is between them is in memory.
        self._given = self._taken = 0
        # Something was put; something is saved; no more may be put; all is saved.
        self._put, self._saved, self._closing, self._flushed = (threading.Event() for _ in range(4))
        self._until = math.inf
        self._disk_trouble = self._store_trouble = ""
        waiting = Gauge("api_outbox_waiting", "Documents that MongoDB does not have yet.", registry=registry)
        waiting.set_function(lambda: self.waiting)
        about = "Documents that MongoDB has acknowledged."
        self._stored = Counter("api_outbox_stored", about, ["collection"], registry=registry)
        for name in COLLECTIONS:
            self._stored.labels(name)
        lost = Counter("api_outbox_lost", "Documents that found no room, and are gone.", registry=registry)
        self._lost = _Tally(lost, "lost")
        about = "Documents that MongoDB refused for good; the newest of them are kept in the spool."
        self._refused = _Tally(Counter("api_outbox_refused", about, registry=registry), "refused by MongoDB for good")
        self._saver = threading.Thread(target=self._save_all, name="outbox-save", daemon=True)
        self._shipper = threading.Thread(target=self._ship_all, name="outbox-ship", daemon=True)
        self._saver.start()
        self._shipper.start()

    @property
    def waiting(self) -> int:
        """How many documents MongoDB does not have yet."""
        return len(self._unsaved) + len(self._spool)

    @property
    def unsaved(self) -> int:
        """How many of them are in memory alone."""
        return len(self._unsaved) + self._spool.held

    def put(self, collection: str, document: dict[str, Any]) -> None:
        """Take a document, which has an `_id` and is nobody else's from now on. Never waits, and never fails."""
        if self._closing.is_set():
            self._lost.add(1, "they came when the API had ended")
        elif len(self._unsaved) >= MOST_UNSAVED or self._given - self._taken >= MOST_UNSAVED_BYTES:
            self._lost.add(1, "the disk of API_SPOOL is too slow")
        else:
            size = sum(map(sys.getsizeof, document.values()))
            self._given += size
            self._unsaved.append((collection, document, size))
            if not self._put.is_set():
                self._put.set()

    def close(self, patience: float = 2.0) -> None:
        """Save everything, then send what can be sent within so many seconds. The next outbox sends the rest.

        A disk that does not answer is waited for no longer either; but it has a few seconds in any case.
        """
        if self._closing.is_set():
            return
        self._until = time.monotonic() + patience
        self._closing.set()
        self._put.set()
        self._saver.join(max(patience, LAST_SAVE_SECONDS))
        stuck = self._saver.is_alive()
        self._flushed.set()
        self._saved.set()
        self._shipper.join(max(0.0, self._until - time.monotonic()))
        self._store.close()
        if self.unsaved:
            why = "does not answer" if stuck else f"took nothing ({self._spool.trouble})"
            self._lost.add(self.unsaved, f"the disk of API_SPOOL {why}")
        elif self.waiting:
            log.warning("%d documents wait in API_SPOOL for the next start", self.waiting)
        if not stuck:  # else it has the file, until the process ends
            self._spool.close()
        self._lost.say()
        self._refused.say()

    def _save_all(self) -> None:
        """The first thread: from memory to the disk, until everything is there."""
        while self._unsaved or not self._closing.is_set():
            held = self._spool.held
            self._put.wait(DISK_PAUSE if held else None)
            self._closing.wait(DISK_PAUSE if held else SAVE_SECONDS)
            self._put.clear()
            if held:
                self._spool.save()
            while count := min(len(self._unsaved), BATCH):
                # They count as waiting all the time: removed here when they are there.
                self._save([self._unsaved[position][:2] for position in range(count)])
                for _ in range(count):
                    self._taken += self._unsaved.popleft()[2]
            self._saved.set()
            self._tell_disk(self._spool.trouble)

    def _save(self, documents: Sequence[tuple[str, dict[str, Any]]]) -> None:
        encoded: defaultdict[str, list[bytes]] = defaultdict(list)
        for collection, document in documents:
            try:
                encoded[collection].append(bson.encode(document))
            except Exception as error:  # one that no database could hold must not take the others with it
                self._lost.add(1, f"BSON cannot hold them ({type(error).__name__})")
        for collection, each in encoded.items():
            if not self._spool.add(collection, each):
                trouble = self._spool.trouble
                why = f"the disk takes nothing ({trouble})" if trouble else "API_SPOOL has reached its bound"
                self._lost.add(len(each), why)

    def _ship_all(self) -> None:
        """The second thread: from the disk to MongoDB, until nothing waits and nothing comes, or time is up."""
        pause = SHORTEST_PAUSE
        while (left := self._until - time.monotonic()) > 0:
            ending = self._flushed.is_set()
            try:
                if batches := self._spool.first():
                    self._ship(batches, None if math.isinf(left) else left)
                    self._tell_store("")
                    pause = SHORTEST_PAUSE
                elif ending:
                    return
                else:
                    self._saved.wait()
                    self._flushed.wait(SHIP_SECONDS)
                    self._saved.clear()
            except Exception as error:  # whatever it is, documents wait, and it is tried again
                if time.monotonic() >= self._until:
                    return
                self._tell_store(str(error) if isinstance(error, StoreError) else f"no document is sent: {error!r}")
                if ending:
                    return
                self._flushed.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE)

    def _ship(self, batches: Sequence[Batch], patience: float | None) -> None:
        """Send the oldest batches, of which nothing is removed before all of them have arrived."""
        collections: defaultdict[str, list[Batch]] = defaultdict(list)
        for batch in batches:
            collections[batch.collection].append(batch)
        refused: list[tuple[str, bytes, str]] = []
        arrived = {}
        for collection, group in collections.items():
            found = self._store.insert(collection, b"".join(batch.documents for batch in group), patience)
            refused += [(collection, document, reason) for document, reason in found]
            arrived[collection] = sum(batch.quantity for batch in group) - len(found)
        self._spool.done(batches, refused)
        for collection, count in arrived.items():
            self._stored.labels(collection).inc(count)
        if refused:
            self._refused.add(len(refused), "see the table `refused` of API_SPOOL")

    def _tell_disk(self, trouble: str) -> None:
        """Say that the disk takes nothing more, and that it does again: once each."""
        if trouble == self._disk_trouble:
            return
        self._disk_trouble = trouble
        if trouble:
            log.error("API_SPOOL cannot be written (%s): what is not in MongoDB is in memory alone", trouble)
        else:
            log.info("API_SPOOL can be written again")

    def _tell_store(self, trouble: str) -> None:
        """Say that MongoDB went away, and that it is back: once each."""
        if trouble == self._store_trouble:
            return
        self._store_trouble = trouble
        if trouble:
            log.warning("%s; %d documents wait in API_SPOOL", trouble, self.waiting)
        else:
            log.info("MongoDB on %s takes documents again; %d wait", self._store.address, self.waiting)


class _Tally:
    """Counts documents that came to nothing, and says so at most once a minute."""

    def __init__(self, counter: Counter, fate: str) -> None:
        self._counter, self._fate = counter, fate
        self._lock = threading.Lock()
        self._untold, self._why, self._told_at = 0, "", -math.inf

    def add(self, count: int, why: str) -> None:
        self._counter.inc(count)
        with self._lock:
            self._untold, self._why = self._untold + count, why
            due = time.monotonic() >= self._told_at + QUIET_SECONDS
        if due:
            self.say()

    def say(self) -> None:
        with self._lock:
            count, self._untold = self._untold, 0
            self._told_at = time.monotonic()
        if count:
            log.error("%d documents are %s: %s", count, self._fate, self._why)
