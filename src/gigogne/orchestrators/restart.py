"""Whether a service that has ended is started once more, and when: Docker's restart policies."""

from __future__ import annotations

from dataclasses import dataclass

from gigogne.core.model import Kind

__all__ = ["RestartPolicy"]

# Docker's own figures: the pause doubles from a tenth of a second to a minute, and begins anew once the service has
# lived for ten seconds.
_FIRST_PAUSE, _LONGEST_PAUSE, _SETTLED = 0.1, 60.0, 10.0
# Where somebody waits for the run to end, a service that ends so often and so soon will not come right.
_MOST_IN_A_ROW = 7
# By then the pause is the longest; 2.0 to the power of a night's restarts is no float any more.
_MOST_DOUBLINGS = 10


@dataclass(slots=True)
class RestartPolicy:
    """A service's `restart:`, and how often it was needed.

    A job is done when it succeeds, whatever its policy. With `patient` (`gigogne up`) a service that ends again and
    again is started for ever, as in Docker; else this gives up after seven restarts in a row.
    """

    policy: str
    kind: Kind
    patient: bool
    restarts: int = 0
    _in_a_row: int = 0

    def pause(self, code: int, lived: float) -> float | None:
        """The seconds to wait before the next try, after an end with `code` that came after `lived` seconds.

        None: there is no next try.
        """
        name, _, most = self.policy.partition(":")
        if name == "no" or (code == 0 and (name == "on-failure" or self.kind is Kind.JOB)):
            return None
        if name == "on-failure" and most.isdecimal() and self.restarts >= int(most) > 0:
            return None
        self._in_a_row = 0 if lived >= _SETTLED else self._in_a_row
        if self._in_a_row >= _MOST_IN_A_ROW and not self.patient:
            return None
        pause = min(_FIRST_PAUSE * 2.0 ** min(self._in_a_row, _MOST_DOUBLINGS), _LONGEST_PAUSE)
        self._in_a_row += 1
        self.restarts += 1
        return pause
