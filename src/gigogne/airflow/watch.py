"""All jobs that one triggerer sees to: their engine is asked once a second, with one question for all of them.

Nothing here blocks the event loop: the engine's calls are made in threads. The state is touched by the loop alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from functools import partial
from typing import ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from gigogne.airflow.bookmark import Bookmark
from gigogne.airflow.job import Job
from gigogne.airflow.logs import Follower, TaskLog
from gigogne.airflow.masking import mask_secrets
from gigogne.choice import choose_engine
from gigogne.core.engine import Engine, State
from gigogne.errors import EngineError

__all__ = ["Attendance", "Watch"]

_INTERVAL = 1.0
# A daemon that starts anew is waited for so long, in seconds; then the tasks themselves see to their jobs.
_PATIENCE = 300.0
_CALLS = 8
# So many jobs are ended at a time; each may take as long as its grace.
_STOPS = 32
_Words = ParamSpec("_Words")
_Answer = TypeVar("_Answer")


class Attendance:
    """What a triggerer holds while it sees to one job: the lease of its run, and the thread that brings its lines."""

    def __init__(self, engine: Engine, job: Job, log: TaskLog) -> None:
        """To be made where the log is that of the task."""
        self._engine, self._job = engine, job
        self._bookmark = Bookmark(job)
        self._lease = contextlib.ExitStack()
        self._follower = Follower(engine, job.handle, log, self._bookmark.read() or job.position, self._note)
        self._follows = self._over = False
        self._lock = threading.Lock()

    def begin(self) -> bool:
        """Take the lease, and bring lines where the secrets that may be in them are known; whether the job runs."""
        if self._engine.status(self._job.handle).state is State.EXITED:
            return False
        with self._lock:
            if self._over:
                return False
            self._lease.enter_context(self._engine.attend(self._job.run))
        environment = self._engine.environment(self._job.handle)
        if environment is not None:
            mask_secrets(environment, self._job.services)
            self._follows = True
            self._follower.start()
        return True

    def _note(self, position: str) -> None:
        with contextlib.suppress(OSError):  # a full disk doubles lines at worst
            self._bookmark.write(position)

    def follows(self) -> bool:
        """Whether there may be lines that are not in the log yet."""
        return self._follows and not self._follower.join(0)

    def end(self) -> str:
        """Give all back; where to read on. Safe while it begins, and to call twice."""
        position = self._follower.stop()
        with self._lock:
            self._over = True
            self._lease.close()
        self._bookmark.close()
        return position


class Watch:
    """The jobs of one engine that one event loop waits for."""

    def __init__(self, engine: str) -> None:
        self._name = engine
        self._engine: Engine | None = None
        self._choosing = asyncio.Lock()
        self._jobs: dict[str, tuple[Job, asyncio.Future[None]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._pool = ThreadPoolExecutor(_CALLS, thread_name_prefix="gigogne-watch")
        self._stops = ThreadPoolExecutor(_STOPS, thread_name_prefix="gigogne-stop")

    @classmethod
    def here(cls, engine: str) -> Watch:
        """That of the running loop."""
        watches = _WATCHES.setdefault(asyncio.get_running_loop(), {})
        if engine not in watches:
            watches[engine] = cls(engine)
        return watches[engine]

    async def call(self, function: Callable[_Words, _Answer], *words: _Words.args, **named: _Words.kwargs) -> _Answer:
        """What a blocking function answers, from a thread; what it logs is the caller's."""
        return await _called(self._pool, partial(function, *words, **named))

    async def call_slow(
        self, function: Callable[_Words, _Answer], *words: _Words.args, **named: _Words.kwargs
    ) -> _Answer:
        """The same, of one that ends a job: no other call waits for it."""
        return await _called(self._stops, partial(function, *words, **named))

    async def engine(self) -> Engine:
        """The engine, made once.

        Raises:
            GigogneError: It is not to be had here.
        """
        async with self._choosing:
            if self._engine is not None:
                return self._engine
            engine, _ = await self.call(choose_engine, self._name, lambda service, text: None)
            self._engine = engine
            return engine

    async def ended(self, job: Job) -> None:
        """Wait until a job runs no more.

        Raises:
            EngineError: The engine has not answered for minutes.
        """
        future = asyncio.get_running_loop().create_future()
        self._jobs[job.key] = job, future
        if self._task is None or self._task.done():
            # In a context of its own: what happens there belongs to no task.
            self._task = asyncio.get_running_loop().create_task(self._poll(), context=Context())
        try:
            await future
        finally:
            self._jobs.pop(job.key, None)

    async def _poll(self) -> None:
        """Ask, once a second, while anybody waits."""
        engine = await self.engine()
        heard = time.monotonic()
        while self._jobs:
            asked = {key: job.handle for key, (job, _) in self._jobs.items()}
            try:
                over = await self.call(engine.ended, list(asked.values()))
                heard = time.monotonic()
            except Exception as error:  # whatever it meets: triggers that nobody wakes would wait for ever
                over = []
                if time.monotonic() - heard > _PATIENCE:
                    self._give_up(EngineError(f"{engine} has not answered for minutes: {error}", "gigogne doctor"))
            for key, handle in asked.items():
                if handle in over and key in self._jobs and not self._jobs[key][1].done():
                    self._jobs[key][1].set_result(None)
            await asyncio.sleep(_INTERVAL)

    def _give_up(self, error: EngineError) -> None:
        for _, future in self._jobs.values():
            if not future.done():
                future.set_exception(error)


async def _called(pool: ThreadPoolExecutor, function: Callable[[], _Answer]) -> _Answer:
    return await asyncio.get_running_loop().run_in_executor(pool, copy_context().run, function)


# By loop, since what waits in one loop can be woken only there; gone with it.
_WATCHES: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Watch]] = WeakKeyDictionary()
