"""The alerts: each is tested by Prometheus's own tool, says what to type, and reaches whom it should."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import REPOSITORY
from tests.stack.monitoring.conftest import MONITORING

PROMETHEUS = MONITORING / "prometheus"
ALERTMANAGER = MONITORING / "alertmanager" / "alertmanager.yml"
TESTS = sorted(PROMETHEUS.glob("tests/*.yml"))


def rules() -> Iterator[dict[str, Any]]:
    """Every rule of every group."""
    for file in sorted(PROMETHEUS.glob("rules/*.yml")):
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]:
            yield from group["rules"]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}


def tool(*command: str | Path) -> str:
    """What a tool prints; it has to succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.prometheus
def test_prometheus_takes_its_configuration() -> None:
    """Its own tool reads it with all the rules, and finds nothing that is there twice."""
    assert f"{len(list(PROMETHEUS.glob('rules/*.yml')))} rule files found" in tool(
        "promtool", "check", "config", "--lint=all", "--lint-fatal", PROMETHEUS / "prometheus.yml"
    )


@pytest.mark.prometheus
def test_alertmanager_takes_its_configuration() -> None:
    """Its own tool reads it."""
    assert "2 receivers" in tool("amtool", "check-config", ALERTMANAGER)


@pytest.mark.prometheus
@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_alerts_fire_when_they_should_and_not_else(file: Path) -> None:
    """Prometheus's own tests of rules hold: series, time, and which alerts fire with which words."""
    tool("promtool", "test", "rules", file)


def test_each_alert_is_seen_firing_and_not_firing() -> None:
    """An alert without a test of either kind is found here."""
    asked = [
        (each["alertname"], bool(each["exp_alerts"]))
        for file in TESTS
        for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]
        for each in test["alert_rule_test"]
    ]
    for fires in (True, False):
        assert {name for name, expected in asked if expected is fires} == set(ALERTS), f"fires: {fires}"


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_bad_it_is_and_what_to_type(name: str) -> None:
    """It waits for a while, has a severity, and its runbook names commands on services that are there."""
    alert = ALERTS[name]
    assert alert["for"]
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert {*alert["annotations"]} == {"summary", "description", "runbook", "dashboard"}
    runbook = alert["annotations"]["runbook"]
    assert re.search(r"\b(docker compose|docker stats|gigogne run|curl) ", runbook)
    assert {*_services(runbook)} <= {"{{ $labels.job }}", *SERVICES}


def _services(runbook: str) -> Iterator[str]:
    yield from re.findall(r"docker compose (?:run --rm|exec|up -d(?: --scale \S+)?) ([a-z][\w-]+|{{.*?}})", runbook)
    for several in re.findall(r"docker compose (?:ps|logs --since \w+)((?: [a-z][\w-]+| {{.*?}})+)", runbook):
        yield from re.findall(r"{{.*?}}|[\w-]+", several)


SERVICES = {
    name
    for file in REPOSITORY.glob("docker-compose-*.yml")
    for name in yaml.safe_load(file.read_text(encoding="utf-8")).get("services", ())
}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_leads_to_a_dashboard(name: str) -> None:
    """Each dashboard that it may name is one of the stack's, and one of its panels names the alert."""
    pages = {
        f"/d/{page['uid']}": text
        for file in MONITORING.glob("grafana/dashboards/*.json")
        for text in [file.read_text(encoding="utf-8")]
        for page in [json.loads(text)]
    }
    named = re.findall(r"/d/[\w-]+", ALERTS[name]["annotations"]["dashboard"])
    assert named
    for page in named:
        assert re.search(rf"\b{name}\b", pages[page]), page


@pytest.mark.prometheus
@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_reaches_people_and_drift_asks_for_a_retraining_too(name: str) -> None:
    """As Alertmanager's own tool reads its configuration."""
    labels = {"alertname": name, **ALERTS[name]["labels"]}
    words = [f"{label}={value}" for label, value in labels.items()]
    receivers = tool("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", *words).split()[0]
    drifts = name in ("TextDrift", "PredictionDrift", "FraudDataDrift", "FraudScoreDrift", "FraudAlarmDrift")
    assert labels.get("action") == ("retrain" if drifts else None)
    assert labels.get("project") == ("fraud" if drifts and name.startswith("Fraud") else None)
    assert receivers == ("retrain,duty" if drifts else "duty")
