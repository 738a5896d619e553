"""The model in service, and the thread that keeps it the one that is promoted."""

from __future__ import annotations

import gc
import logging
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TypedDict

import numpy as np

from api.metrics import Metrics
from catalog.champion import Registry, RegistryError, Version
from catalog.classifier import Classifier, ModelError
from catalog.names import MODEL
from catalog.text import clean

__all__ = ["Champion", "Likely", "Model"]


class ModelName(TypedDict):
    """A version of the model, as responses say it."""

    name: str
    version: int


Likely = tuple[int, float]
"""A code, and its probability."""

Identity = tuple[int, str, datetime]

# What a new model is asked before it serves: its tables are made, and a model that cannot answer is found out.
WARM_UP = [("piscine gonflable", "avec pompe"), ("lot de livres", ""), ("", "")]
# A version that cannot be loaded is tried again, more and more seldom: an upload may have been under way.
LONGEST_PAUSE = 300.0

log = logging.getLogger("api.model")


@dataclass(frozen=True)
class Model:
    """A version of the champion, loaded.

    Attributes:
        version: What the registry says of it.
        classifier: What predicts.
        loaded: Since when it is there.
    """

    version: Version
    classifier: Classifier
    loaded: datetime

    @cached_property
    def name(self) -> ModelName:
        """Which model answers, as responses say it."""
        return {"name": MODEL, "version": self.version.number}

    @cached_property
    def _codes(self) -> list[int]:
        return [int(code) for code in self.classifier.labels]

    def likeliest(self, designation: str, description: str, count: int) -> list[Likely]:
        """The most likely codes of a listing, best first."""
        (chances,) = self.classifier.predict_proba([(clean(designation), clean(description))])
        best = np.argsort(-chances, kind="stable")[:count].tolist()
        return [(self._codes[place], round(float(chances[place]), 6)) for place in best]


class Champion:
    """Whichever version is promoted: looked for every few seconds, loaded beside the one in service, then swapped.

    Args:
        tracking_uri: The MLflow to ask.
        poll: Seconds between two looks.
        metrics: What is told of it.

    Attributes:
        model: The version in service; None until there is one.
        reason: Why there is none, or why a newer one is not in service; empty when all is well.
    """

    def __init__(self, tracking_uri: str, poll: float, metrics: Metrics) -> None:
        self.model: Model | None = None
        self.reason = "MLflow has not answered yet"
        self._registry, self._poll, self._metrics = Registry(tracking_uri), poll, metrics
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

    def _watch(self) -> None:
        while not self._ended.is_set():
            reason = self._look()
            if reason != self._said:
                # Once, however long it lasts.
                log.warning("%s", reason) if reason else log.info("MLflow answers again")
            # Who asks the API need not know where its registry is.
            self.reason, self._said = reason.replace(f" at {self._registry.address}", ""), reason
            self._ended.wait(self._poll)

    def _look(self) -> str:
        """Take up a new champion, if there is one; what is wrong, if something is."""
        try:
            version = self._registry.champion()
            self._metrics.model_checked.set_to_current_time()
            if version is None:
                return f"MLflow has no champion of {MODEL}: train one (gigogne run --pipeline catalog)"
            if self.model and _identity(version) == _identity(self.model.version):
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
            model = Model(version, self._registry.load(version), datetime.now(UTC))
            for text in WARM_UP:
                model.likeliest(*text, count=1)
        except Exception as error:  # whatever is wrong with a model, this thread goes on, and the old one serves
            self._metrics.load_failed.inc()
            what = f"version {version.number} cannot be loaded"
            known = isinstance(error, (ModelError, RegistryError))
            reason = f"{what}: {error}" if known else self._unforeseen(what, error)
            self._failure = self._failure.again(version, reason)
            return reason
        self.model = model
        gc.freeze()
        self._metrics.serves(version.number, version.created.timestamp())
        log.info("version %d is in service, loaded in %.2f s", version.number, time.monotonic() - begin)
        return ""

    def _unforeseen(self, what: str, error: Exception) -> str:
        """A reason that anybody may read. What it does not tell is in the log, once."""
        reason = f"{what}: {type(error).__name__}, see the log of the API"
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
