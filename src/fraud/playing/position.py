"""Where the player stands, kept in a file: what was taken is not lost, and little of it is brought again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from threading import Lock

from fraud.landing import write_whole
from job.errors import SettingError

__all__ = ["Position", "Stand"]


@dataclass(frozen=True)
class Stand:
    """All transactions of `name` before `next` are taken, and all that was confirmed until `confirmed`."""

    name: str
    next: int
    confirmed: datetime


class Position:
    """A stand that moves on as transactions are taken, in whatever order.

    Args:
        path: The file that keeps it.
        start: Where to begin if there is none yet.
    """

    def __init__(self, path: Path, start: Stand) -> None:
        self._path, self._lock = path, Lock()
        self._taken: set[int] = set()
        self._written: Stand | None = None
        self.stand = self._read(start) or start

    def take(self, number: int) -> None:
        """Transaction `number` is taken."""
        with self._lock:
            self._taken.add(number)
            following = self.stand.next
            while following in self._taken:
                self._taken.remove(following)
                following += 1
            self.stand = Stand(self.stand.name, following, self.stand.confirmed)

    def confirm(self, until: datetime) -> None:
        """All that was confirmed until then is recorded."""
        with self._lock:
            self.stand = Stand(self.stand.name, self.stand.next, until)

    def write(self) -> None:
        """Write it, or show by the file's time that nothing has moved: somebody looks whether the player is alive.

        Raises:
            JobError: The file cannot be written.
        """
        stand = self.stand
        if stand != self._written:
            told = asdict(stand) | {"confirmed": stand.confirmed.isoformat()}
            write_whole(self._path, [json.dumps(told).encode() + b"\n"])
            self._written = stand
        else:
            self._path.touch()

    def _read(self, start: Stand) -> Stand | None:
        wrong = f"PLAYER_STATE {self._path}"
        try:
            read = json.loads(self._path.read_bytes())
            stand = Stand(str(read["name"]), int(read["next"]), datetime.fromisoformat(read["confirmed"]))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SettingError(f"{wrong} cannot be read: {error.strerror}") from None
        except (ValueError, TypeError, KeyError):
            raise SettingError(f"{wrong} is no state of a player: remove it, and it begins at START") from None
        if stand.name != start.name:
            raise SettingError(
                f"{wrong} is of {stand.name}, and SEED and DRIFT ask for {start.name}: set them as before, or remove it"
            )
        return stand
