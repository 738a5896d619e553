"""Where a project's verdicts are: a folder on S3 that its drift job writes and monitor reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Self, TypeVar

from drift.verdict import FORMAT, Verdict
from job.errors import JobError
from job.settings import text
from job.storage import MissingObjectError, Storage, parse

__all__ = ["Folder", "Latest"]

Found = TypeVar("Found")


@dataclass(frozen=True)
class Latest:
    """What the drift job has left.

    Attributes:
        verdict: The newest; None where there is none yet.
        looked: When it looked last, with or without a verdict; None for never.
    """

    verdict: Verdict | None
    looked: datetime | None


@dataclass(frozen=True)
class Folder:
    """The folder, by its address."""

    address: str

    @classmethod
    def read(cls, name: str, default: str) -> Self:
        """The folder that a variable names.

        Raises:
            SettingError: It names none.
        """
        made = cls(text(name, default).rstrip("/"))
        parse(made._latest)
        return made

    def report(self, at: datetime) -> str:
        """The address of the report of a look, which is in a folder of its own."""
        return f"{self.address}/{at:%Y%m%dT%H%M%SZ}/report.html"

    def write(self, storage: Storage, verdict: Verdict, page: bytes) -> None:
        """Write a verdict and the page that is its report; what points at them last, when they are whole.

        Raises:
            JobError: S3 does not answer, or refuses; the newest verdict is the one before.
        """
        storage.put(verdict.report, page, "text/html; charset=utf-8")
        beside, document = verdict.report.rpartition("/")[0], verdict.to_json()
        for address in (f"{beside}/drift.json", self._latest):
            storage.put(address, document, "application/json")

    def write_look(self, storage: Storage, at: datetime) -> None:
        """Write that somebody has looked.

        Raises:
            JobError: S3 does not answer, or refuses.
        """
        document = {"format": FORMAT, "at": at.isoformat(timespec="seconds")}
        storage.put(self._looked, json.dumps(document).encode(), "application/json")

    def read_latest(self, storage: Storage, model: str) -> Latest:
        """The newest verdict about a model, and the time of the last look.

        Raises:
            JobError: S3 does not answer, or what is there is something else.
        """
        verdict = _read(storage, self._latest, partial(Verdict.from_json, model=model))
        return Latest(verdict, _read(storage, self._looked, _look_from_json))

    @property
    def _latest(self) -> str:
        return f"{self.address}/latest.json"

    @property
    def _looked(self) -> str:
        return f"{self.address}/looked.json"


def _look_from_json(body: bytes) -> datetime:
    try:
        return datetime.fromisoformat(json.loads(body)["at"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"no look: {error!r}") from None


def _read(storage: Storage, address: str, from_json: Callable[[bytes], Found]) -> Found | None:
    """What an object says; None where there is none."""
    try:
        return from_json(storage.get(address))
    except MissingObjectError:
        return None
    except ValueError:
        raise JobError(f"{address} is no verdict of the drift job: run that job again") from None
