"""The player: brings the simulated transactions to the scorer as time goes by, or faster, and the truth when it is out.

A transaction is brought until it is taken: the scorer may be away, and a repeat has the answer of the first time. The
transactions of a card stay in their order. Where it stands is kept in a file; started again, it goes on from there.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from fraud.generator import TOTAL, Event, Generator, Truth, check_range
from fraud.playing.client import Client, RefusedError
from fraud.playing.health import STATE
from fraud.playing.lanes import Lane, Outage
from fraud.playing.position import Position, Stand
from fraud.scenario.drift import Drift
from job.program import run
from job.progress import Heartbeat
from job.settings import text, whole_number

__all__ = ["Player", "Settings", "main"]

URL = "http://scorer:8002"
SEED, SPEED = 42, 60
# Transactions on their way at once; a card always goes by the same lane.
LANES = 4
# Confirmations travel together: those of a second, or so many.
ENOUGH, MOST = 500, 1_000
TICK, DRAINING = 1.0, 0.02
REASONS_SHOWN = 3
T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """What the player is told.

    Attributes:
        url: The scorer's address; whoever it names is shown nowhere.
        speed: How many times as fast as time goes by; 0 for as fast as it goes.
        start: The number of the first transaction, where there is no state.
        transactions: How many there are from `start` on; 0 for no end.
        seed: Which ones they are.
        drift: What shifts in their world.
        state: The file that keeps where the player stands.
        user: Who confirms; empty where nothing is to be confirmed.
        password: Is shown nowhere.
    """

    url: str = field(repr=False)
    speed: int
    start: int
    transactions: int
    seed: int
    drift: Drift
    state: Path
    user: str
    password: str = field(repr=False)

    @classmethod
    def read(cls) -> Settings:
        """The settings in the environment.

        Raises:
            SettingError: A variable has a value that cannot be used.
        """
        start, transactions = whole_number("START", 0), whole_number("TRANSACTIONS", 0)
        check_range(start, transactions)
        return cls(
            url=text("PLAYER_URL", URL),
            speed=whole_number("PLAYER_SPEED", SPEED),
            start=start,
            transactions=transactions,
            seed=whole_number("SEED", SEED),
            drift=Drift.parse(text("DRIFT")),
            state=Path(text("PLAYER_STATE", STATE)),
            user=text("PLAYER_USER"),
            password=text("PLAYER_PASSWORD"),
        )


class Tally:
    """What became of what was brought."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[str] = Counter()
        self._until: datetime | None = None
        self._began = time.monotonic()

    def scored(self, event: Event, called: bool) -> None:
        """A transaction was taken, and called a fraud or not."""
        kinds = [
            "taken",
            *["called"] * called,
            *["frauds"] * event.is_fraud,
            *["rightly"] * (called and event.is_fraud),
        ]
        with self._lock:
            self._counts.update(kinds)
            self._until = max(event.at, self._until or event.at)

    def refused(self, what: str, reason: str) -> None:
        """Something will never be taken; the first reasons are shown."""
        with self._lock:
            self._counts["refused"] += 1
            shown = self._counts["refused"] <= REASONS_SHOWN
        if shown:
            print(f"the scorer refuses {what}: {reason}", file=sys.stderr, flush=True)

    def confirmed(self, outcomes: list[str]) -> None:
        """Confirmations were recorded."""
        with self._lock:
            self._counts.update(outcomes)
            self._counts["told"] += len(outcomes)

    def __str__(self) -> str:
        of = self._counts
        told = [f"{of[name]:,} {name}" for name in ("contradicted", "rejected", "repeated", "waiting") if of[name]]
        seconds = max(time.monotonic() - self._began, 0.001)
        return (
            f"{of['taken']:,} transactions until {self._until or '-'} ({of['taken'] / seconds:,.0f} a second):"
            f" {of['called']:,} called frauds, {of['rightly']:,} of the {of['frauds']:,} that are;"
            f" {of['told']:,} confirmations{' (' + ', '.join(told) + ')' if told else ''}"
            + (f"; {of['refused']:,} refused" if of["refused"] else "")
        )


class Player:
    """Plays the transactions of a generator to a scorer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._generator = Generator(settings.seed, settings.drift)
        first = self._generator.event(settings.start - 1).at if settings.start else datetime.min
        self._position = Position(settings.state, Stand(self._generator.name, settings.start, first))
        self._client = Client(settings.url, LANES + 1, settings.user, settings.password)
        self._tally, self._progress = Tally(), Heartbeat()
        outage = Outage("transactions")
        self._lanes = [Lane(self._score, outage) for _ in range(LANES)]
        self._truths = Lane(self._confirm, Outage("confirmations"))
        self._all: tuple[Lane[Any], ...] = (*self._lanes, self._truths)
        self._due: list[Truth] = []
        self._sent, self._ticked = time.monotonic(), 0.0

    def play(self) -> None:
        """Bring all that there is to bring, and wait until it is taken; however it ends, the position is kept.

        Raises:
            JobError: The scorer does not know the user, or the state cannot be written.
        """
        settings, first = self._settings, self._position.stand.next
        stop = settings.start + settings.transactions if settings.transactions else TOTAL
        print(f"from transaction {first:,} on to {self._client.shown}, {_pace(settings.speed)}", flush=True)
        self._tick()
        if not settings.user:
            print("PLAYER_USER is not set: nothing is confirmed", file=sys.stderr, flush=True)
        try:
            self._play(first, stop)
            self._drain()
        finally:
            for lane in self._all:
                lane.stop()
            self._position.write()
            print(self._tally, flush=True)

    def _play(self, first: int, stop: int) -> None:
        """Hand out the transactions when their time comes, and what is confirmed by then."""
        settings, confirmed = self._settings, self._position.stand.confirmed
        begun, opened = time.monotonic(), self._generator.event(first).at
        for number, event in enumerate(self._generator.events(first, stop), start=first):
            if settings.speed:
                self._sleep(begun + (event.at - opened).total_seconds() / settings.speed)
            self._hand(self._lanes[event.transaction["cc_num"] % LANES], (number, event))
            if settings.user:
                self._due += self._generator.confirmations(confirmed, event.at)
                confirmed = event.at
                self._send(confirmed, enough=ENOUGH)
        if self._due:
            self._send(confirmed, enough=1)

    def _send(self, until: datetime, enough: int) -> None:
        """Hand out the confirmations, if they are enough or wait for long enough."""
        if len(self._due) >= enough or (self._due and time.monotonic() >= self._sent + TICK):
            self._hand(self._truths, (until, self._due))
            self._due, self._sent = [], time.monotonic()

    def _score(self, numbered: tuple[int, Event]) -> None:
        number, event = numbered
        try:
            self._tally.scored(event, self._client.score(event.transaction))
        except RefusedError as error:
            self._tally.refused(f"transaction {number:,}", str(error))
        self._position.take(number)

    def _confirm(self, due: tuple[datetime, list[Truth]]) -> None:
        until, truths = due
        for first in range(0, len(truths), MOST):
            try:
                self._tally.confirmed(self._client.confirm(truths[first : first + MOST]))
            except RefusedError as error:
                self._tally.refused("confirmations", str(error))
        self._position.confirm(until)

    def _hand(self, lane: Lane[T], thing: T) -> None:
        while not lane.put(thing, TICK):
            self._tick()
        self._tick()

    def _sleep(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, TICK))
            self._tick()

    def _drain(self) -> None:
        """Wait until all that was handed out is taken."""
        while not all(lane.is_idle for lane in self._all):
            time.sleep(DRAINING)
            self._tick()

    def _tick(self) -> None:
        """Every second: keep the position, and say how it goes."""
        if time.monotonic() >= self._ticked + TICK:
            self._ticked = time.monotonic()
            self._position.write()
            self._progress.show(self._tally)


def main() -> None:
    """Play what the environment asks for."""
    Player(Settings.read()).play()


def _pace(speed: int) -> str:
    return {0: "as fast as it goes", 1: "in real time"}.get(speed, f"{speed:,} times as fast as time goes by")


if __name__ == "__main__":
    run(main)
