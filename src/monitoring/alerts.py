"""What Alertmanager sends to its webhook, as far as it asks for something: version 4 of its format."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["RETRAIN", "PayloadError", "wanted"]

# The label, and its value, by which a rule asks for a retraining; and the label that says of which version.
ACTION, RETRAIN, VERSION = "action", "retrain", "version"
FIRING, RESOLVED = "firing", "resolved"
NUMBER = re.compile(r"[1-9][0-9]{0,8}")


class PayloadError(Exception):
    """It is not what Alertmanager sends; says what is missing."""


def wanted(body: bytes) -> int | None:
    """The version of the model that is to be retrained, by the alerts that fire; None where none asks for it.

    Of several it is the newest: an alert about an older one only has not ended yet.

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
    versions = [each for each in map(_version, alerts) if each is not None]
    return max(versions, default=None)


def _version(alert: Any) -> int | None:
    """The version that an entry asks a retraining of, where it does so now."""
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
    return int(version)
