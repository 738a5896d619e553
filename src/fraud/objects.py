"""Where the objects of an extract are: by ``EXTRACTOR_TARGET``, and by ``EXTRACTOR_UNTIL`` in a folder of their own.

``extractor_sql`` writes them and ``train_fraud`` reads them, so both are told by the same variables.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from fraud.dates import FIRST_YEAR, LAST_YEAR, DateError, within_reach
from fraud.targets import beside, name_of
from job.errors import SettingError
from job.settings import text

__all__ = ["Objects"]

TARGET, UNTIL = "EXTRACTOR_TARGET", "EXTRACTOR_UNTIL"
DEFAULT = "s3://fraud-detection-2-bucket/data/validated.csv"
HISTORY = "history.csv"


@dataclass(frozen=True)
class Objects:
    """The addresses of the three objects, and until when they look; None for all that is known."""

    validated: str
    history: str
    state: str
    until: datetime | None

    @property
    def addresses(self) -> tuple[str, str, str]:
        """All of them, in the order in which they are replaced: who finds the new state finds what it is about."""
        return self.validated, self.history, self.state

    @classmethod
    def read(cls) -> Objects:
        """What the environment says.

        Raises:
            SettingError: A variable has a value that cannot be used.
        """
        where, until = text(TARGET, DEFAULT), _until()
        name = name_of(where)
        folder = [f"until-{until:%Y%m%dT%H%M%S}"] if until else []
        state = name.removesuffix(".csv") + ".json"
        if len({name, HISTORY, state}) < 3:
            raise SettingError(f"{TARGET}={where!r}: {HISTORY} and {state} go beside it, so give it another name")
        validated, history, status = (beside(where, *folder, each) for each in (name, HISTORY, state))
        return cls(validated, history, status, until)


def _until() -> datetime | None:
    """The moment, of the data's own clock, which has no zone; one with a zone is told in UTC."""
    value = text(UNTIL)
    if not value:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise SettingError(f"{UNTIL}={value!r} is not a date and time: write 2025-01-31T12:00:00") from None
    try:
        return within_reach(moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment)
    except (DateError, OverflowError):
        limit = f"write one from {FIRST_YEAR}-01-01 to {LAST_YEAR}-12-31"
        raise SettingError(f"{UNTIL}={value!r} is out of range: {limit}") from None
