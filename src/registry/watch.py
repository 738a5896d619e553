"""The model in service, and the thread that keeps it the one that is promoted."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from registry.champion import Registry, Version
from registry.errors import RegistryError

__all__ = ["Failure", "Observer", "Watch"]

Model = TypeVar("Model")
Identity = tuple[int, str, datetime]

# A version that cannot be loaded is tried again, more and more seldom: an upload may have been under way.
LONGEST_PAUSE = 300.0

log = logging.getLogger("registry.watch")


class Observer(Protocol):
    """What is told of it: a server's metrics."""

    def checked(self) -> None:
        """The registry has answered which version it is."""

    def serves(self, version: int, created: float) -> None:
        """A version that was registered then is in service."""

    def failed(self) -> None:
        """A version could not be loaded."""


class Watch(Generic[Model]):
    """Whichever version is promoted: looked for every few seconds, loaded beside the one in service, then swapped.

    Args:
        registry: Who knows which version it is.
        load: Makes a model of a version, by the registry, and tries it.
        absent: What there is to do where there is no champion.
        poll: Seconds between two looks.
        observer: What is told of it.

    Attributes:
        model: The version in service; None until there is one.
        reason: Why there is none, or why a newer one is not in service; empty when all is well.
    """

    def __init__(
        self,
        registry: Registry[Any],
        load: Callable[[Version], Model],
        *,
        absent: str,
        poll: float,
        observer: Observer,
    ) -> None:
        self.model: Model | None = None
        self.reason = "MLflow has not answered yet"
        self._registry, self._load, self._absent = registry, load, absent
        # Words that anybody may read.
        self._known = RegistryError, registry.model.damaged
        self._poll, self._observer = poll, observer
        self._version: Identity | None = None
        self._failure = Failure()
        self._said = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="champion", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more. An answer that is under way is not waited for."""
        self._ended.set()

    def lacking(self) -> Sequence[str]:
        """Why no model is in service; empty where one is."""
        return () if self.model is not None else (self.reason,)

    def _watch(self) -> None:
        while not self._ended.is_set():
            reason = self.look()
            if reason != self._said:
                # Once, however long it lasts.
                log.warning("%s", reason) if reason else log.info("MLflow answers again")
            # Who asks the server need not know where its registry is.
            self.reason, self._said = reason.replace(f" at {self._registry.address}", ""), reason
            self._ended.wait(self._poll)

    def look(self) -> str:
        """Take up a new champion, if there is one; what is wrong, if something is."""
        try:
            version = self._registry.champion()
            self._observer.checked()
            if version is None:
                return self._absent
            if _identity(version) == self._version:
                return ""
            if not self._failure.is_over(version, self._poll, time.monotonic()):
                return self._failure.reason
            return self._take_up(version)
        except RegistryError as error:
            return str(error)
        except Exception as error:  # whatever a registry may answer, this thread goes on
            return self._unforeseen("the registry cannot be read", error)

    def _take_up(self, version: Version) -> str:
        """Load a version and put it into service; why not, if not."""
        begin = time.monotonic()
        try:
            model = self._load(version)
        except Exception as error:  # whatever is wrong with a model, this thread goes on, and the old one serves
            self._observer.failed()
            what = f"version {version.number} cannot be loaded"
            reason = f"{what}: {error}" if isinstance(error, self._known) else self._unforeseen(what, error)
            self._failure = self._failure.again(version, reason)
            return reason
        self.model, self._version = model, _identity(version)
        gc.freeze()
        self._observer.serves(version.number, version.created.timestamp())
        log.info("version %d is in service, loaded in %.2f s", version.number, time.monotonic() - begin)
        return ""

    def _unforeseen(self, what: str, error: Exception) -> str:
        """A reason that anybody may read. What it does not tell is in the log, once."""
        reason = f"{what}: {type(error).__name__}, see the log of the server"
        if reason != self._said:
            log.error("%s: %s: %s", what, type(error).__name__, error)
        return reason


@dataclass(frozen=True)
class Failure:
    """A version that could not be loaded. It is tried again, more and more seldom: its upload may be under way.

    Attributes:
        of: Which one.
        reason: Why.
        at: When, on the monotonic clock.
        times: How often by now.
    """

    of: Identity | None = None
    reason: str = ""
    at: float = 0.0
    times: int = 0

    def again(self, version: Version, reason: str) -> Failure:
        """This failure, or the first one of another version."""
        times = self.times + 1 if self.of == _identity(version) else 1
        return Failure(_identity(version), reason, time.monotonic(), times)

    def is_over(self, version: Version, poll: float, now: float) -> bool:
        """Whether a version may be tried (again)."""
        pause = min(poll * 2.0 ** min(self.times, 20), LONGEST_PAUSE)
        return self.of != _identity(version) or now - self.at > pause


def _identity(version: Version) -> Identity:
    """What a version is, beside its tags: a registry made anew counts from 1 again."""
    return version.number, version.run_id, version.created
