"""What Alertmanager sends to its webhook, as far as it asks for something: version 4 of its format."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from monitoring.settings import CATALOG

__all__ = ["RETRAIN", "PayloadError", "Wish", "wanted"]

# The label, and its value, by which a rule asks for a retraining; and those that say of which project's model, the
# catalogue's where there is none, and of which version.
ACTION, RETRAIN, PROJECT, VERSION = "action", "retrain", "project", "version"
FIRING, RESOLVED = "firing", "resolved"
NUMBER = re.compile(r"[1-9][0-9]{0,8}")


class PayloadError(Exception):
    """It is not what Alertmanager sends; says what is missing."""


@dataclass(frozen=True, order=True)
class Wish:
    """A retraining that is asked for: of which project's model, and of which version."""

    project: str
    version: int


def wanted(body: bytes) -> Wish | None:
    """The retraining that the alerts which fire ask for; None where none does.

    Of several versions it is the newest: an alert about an older one only has not ended yet.

    Raises:
        PayloadError: It is not what Alertmanager sends, or asks for several projects at once.
    """
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        raise PayloadError("the body is not JSON") from None
    alerts = payload.get("alerts") if isinstance(payload, dict) else None
    if not isinstance(alerts, list):
        raise PayloadError("there is no list of alerts")
    wishes = [each for each in map(_wish, alerts) if each is not None]
    if len({each.project for each in wishes}) > 1:
        raise PayloadError("the alerts are of several projects, which a route has to group by")
    return max(wishes, default=None)


def _wish(alert: Any) -> Wish | None:
    """What an entry asks for, where it does so now."""
    if not isinstance(alert, dict) or alert.get("status") not in (FIRING, RESOLVED):
        raise PayloadError("an alert is neither firing nor resolved")
    labels = alert.get("labels")
    if not isinstance(labels, dict):
        raise PayloadError("an alert has no labels")
    if alert["status"] == RESOLVED or labels.get(ACTION) != RETRAIN:
        return None
    version = labels.get(VERSION)
    if not isinstance(version, str) or not NUMBER.fullmatch(version):
        raise PayloadError("an alert that asks for a retraining does not say of which version of the model")
    return Wish(str(labels.get(PROJECT) or CATALOG), int(version))
