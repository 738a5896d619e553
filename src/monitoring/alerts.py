"""What Alertmanager sends to its webhook, as far as it asks for something: version 4 of its format."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

__all__ = ["RETRAIN", "Alert", "PayloadError", "wanted"]

# The label, and its value, by which a rule asks for a retraining.
ACTION, RETRAIN = "action", "retrain"
FIRING, RESOLVED = "firing", "resolved"
FINGERPRINT = re.compile(r"[0-9a-f]{1,32}")


class PayloadError(Exception):
    """It is not what Alertmanager sends; says what is missing."""


@dataclass(frozen=True, order=True)
class Alert:
    """A firing alert that asks for a retraining: since when it fires, and Alertmanager's hash of its labels."""

    since: datetime
    fingerprint: str

    @property
    def run_id(self) -> str:
        """The name of the run that it asks for: the same alert, told again, asks for the same run."""
        return f"{RETRAIN}__{self.since:%Y-%m-%dT%H:%M:%S.%fZ}__{self.fingerprint}"


def wanted(body: bytes) -> Alert | None:
    """The alert that asks for a retraining; of several the oldest, and None where none does.

    Raises:
        PayloadError: It is not what Alertmanager sends.
    """
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        raise PayloadError("the body is not JSON") from None
    alerts = payload.get("alerts") if isinstance(payload, dict) else None
    if not isinstance(alerts, list):
        raise PayloadError("there is no list of alerts")
    firing = [each for each in map(_alert, alerts) if each is not None]
    return min(firing, default=None)


def _alert(alert: Any) -> Alert | None:
    """An entry, where it asks for a retraining now."""
    if not isinstance(alert, dict) or alert.get("status") not in (FIRING, RESOLVED):
        raise PayloadError("an alert is neither firing nor resolved")
    labels = alert.get("labels")
    if not isinstance(labels, dict):
        raise PayloadError("an alert has no labels")
    if alert["status"] == RESOLVED or labels.get(ACTION) != RETRAIN:
        return None
    fingerprint = str(alert.get("fingerprint", ""))
    if not FINGERPRINT.fullmatch(fingerprint):
        raise PayloadError("an alert has no fingerprint")
    try:
        since = datetime.fromisoformat(str(alert.get("startsAt", "")))
        return Alert(since.astimezone(UTC), fingerprint)
    except (ValueError, OverflowError):
        raise PayloadError("an alert does not say when it started") from None
