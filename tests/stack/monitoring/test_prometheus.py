"""A real Prometheus that has looked at the real API and monitor: alerts, and every query of every dashboard."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import sql
from tests.stack.api.conftest import Api, StandIn, serving
from tests.stack.catalog.test_model import make_examples
from tests.stack.conftest import ESCAPED, S3, environment
from tests.stack.fraud.conftest import new_database
from tests.stack.fraud.scorer.conftest import Scorer, fitted, record, scoring, series
from tests.stack.monitoring.conftest import Observed, eventually, fetch, monitor, observed
from tests.stack.monitoring.test_dashboards import DASHBOARDS, marked, panels, substituted, targets, variables
from tests.stack.monitoring.test_rules import rules

from ml.fitting import fit

pytestmark = pytest.mark.prometheus

# The texts have drifted, the shares have not; of the version that is in service.
VERDICT: dict[str, Any] = {
    "format": 1,
    "at": datetime.now(UTC).isoformat(),
    "model": {"name": "catalog-classifier", "version": 1},
    "rows": {"reference": 2400, "current": 1990},
    "parts": {
        "text": {"score": 0.81, "threshold": 0.6, "p_value": 0.0001, "detected": True},
        "prediction": {"score": 0.05, "threshold": 0.13, "p_value": 0.7, "detected": False},
    },
    "report": "s3://catalog/drift/20261122T130000Z/report.html",
}
# Card transactions have drifted; neither scores nor alarms have.
FRAUD_VERDICT = {
    **VERDICT,
    "model": {"name": "fraud-detector", "version": 1},
    "rows": {"reference": 998, "current": 997},
    "parts": {
        "data": {"score": 0.17, "threshold": 0.07, "p_value": 0.0005, "detected": True},
        "score": {"score": 0.02, "threshold": 0.05, "p_value": 0.4, "detected": False},
        "alarms": {"score": 1.2, "threshold": 2.4, "p_value": 0.7, "detected": False},
    },
}


@dataclass(frozen=True)
class Stack:
    """What is watched, and what watches."""

    api: Api
    token: str
    scorer: Scorer
    observed: Observed

    def use(self) -> None:
        """Some traffic."""
        traffic(self.api, self.token)
        transactions(self.scorer)


@pytest.fixture(scope="module")
def stack(mongodb_address: str, postgres_url: str, s3: S3) -> Iterator[Stack]:
    """The API and the scorer with champions and some traffic; monitor with a queue, and verdicts; and who watches."""
    registry, detectors, name = StandIn(), StandIn(), f"t{uuid.uuid4().hex[:12]}"
    champion, _ = fit(make_examples(150, seed=0), lambda line: None)
    mongodb = f"mongodb://admin:{ESCAPED}@{mongodb_address}/{name}?authSource=admin"
    settings = {
        **s3.environment,
        "DRIFT_TARGET": f"s3://catalog/{name}",
        "DRIFT_FRAUD_TARGET": f"s3://{s3.bucket}/{name}",
        "ML_DATABASE_URI": queue(postgres_url, name),
        "AIRFLOW_URL": "http://127.0.0.1:9",
    }
    for key in ("latest", "looked"):
        for bucket, verdict in (("catalog", VERDICT), (s3.bucket, FRAUD_VERDICT)):
            s3.client().put_object(Bucket=bucket, Key=f"{name}/{key}.json", Body=json.dumps(verdict).encode())
    try:
        with (
            serving(MLFLOW_TRACKING_URI=registry.url, MONGODB_URI=mongodb) as api,
            new_database(postgres_url) as database,
            scoring(MLFLOW_TRACKING_URI=detectors.url, LOGGER_SQL_URI=database) as scorer,
            monitor(**settings) as address,
            observed(
                {
                    "api:8000": api.url.removeprefix("http://"),
                    "scorer:8002": scorer.url.removeprefix("http://"),
                    "monitor:8001": address,
                }
            ) as seen,
        ):
            # Without a champion: the failures that dashboards have a share of.
            assert api.predict("roman livre").status_code == scorer.score(record(0)).status_code == 503
            registry.promote(champion)
            detectors.promote(fitted(2))
            api.serves(1)
            scorer.serves(1)
            eventually(lambda: seen.query("api_model_version == 1 and on () catalog_drift_rows"))
            eventually(lambda: seen.query("scorer_model_version == 1 and on () fraud_drift_rows"))
            assert scorer.confirm(("nobody's", False, "2025-02-01T00:00:00")).ok
            made = Stack(api, api.token(), scorer, seen)
            made.use()
            # A rate is of two looks at a series.
            eventually(lambda: seen.query('http_requests_total{handler="/feedback"}'))
            eventually(lambda: seen.query('http_requests_total{handler="/confirmations"}'))
            made.use()
            yield made
    finally:
        registry.stop()
        detectors.stop()


def queue(postgres_url: str, name: str) -> str:
    """The address of a database of one's own, with a request in its queue that nobody takes."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    address = f"{postgres_url.rpartition('/')[0]}/{name}"
    command = [sys.executable, "-m", "ml.request", "score"]
    subprocess.run(command, env=environment(ML_DATABASE_URI=address), check=True, capture_output=True, timeout=60)
    return address


def traffic(api: Api, token: str) -> None:
    """Predictions, one by one and at once; a request that is refused; feedback of each kind."""
    made = [api.predict(text).json() for text in ("roman livre", "piscine gonflable", "jeu de console") * 10]
    api.client.post("/predict/batch", json={"products": [{"designation": "roman"}] * 20}).raise_for_status()
    assert api.predict(" ").status_code == 422
    codes = [category["code"] for category in made[0]["categories"]]
    login = {"Authorization": f"Bearer {token}"}
    for prediction, code in ((made[0]["id"], codes[0]), (made[0]["id"], codes[1]), (uuid.uuid4().hex, codes[0])):
        given = {"prediction_id": prediction, "code": code}
        api.client.post("/feedback", json=given, headers=login).raise_for_status()


def transactions(scorer: Scorer) -> None:
    """Transactions of a card of its own, and one that is none."""
    card = 4_000_000_000_000 + secrets.randbelow(10**12)
    for each in series(card, 10):
        scorer.score(each).raise_for_status()
    assert scorer.score({"cc_num": card}).status_code == 422


def test_what_is_there_is_up_and_what_is_away_is_told(stack: Stack) -> None:
    """Each target of the configuration is looked at; Grafana, which does not run here, is the one that is away."""

    def told() -> set[str]:
        named = [alert["labels"] for alert in stack.observed.alerts() if alert["labels"].get("instance") != "test"]
        return {labels["job"] for labels in named if labels["alertname"] == "TargetDown"}

    def up() -> dict[str, str]:
        return {series["metric"]["job"]: series["value"][1] for series in stack.observed.query("up")}

    there = {"alertmanager": "1", "api": "1", "grafana": "0", "monitor": "1", "prometheus": "1", "scorer": "1"}
    # Whoever was slow once is taken for away for a moment.
    eventually(lambda: up() == there)
    eventually(lambda: told() == {"grafana"})


def test_rules_ask_for_metrics_that_are_there(stack: Stack) -> None:
    """Each rule is evaluated without an error, and each metric that it names is one that was scraped or recorded."""
    groups = stack.observed.ask("rules")["groups"]
    assert [rule["lastError"] for group in groups for rule in group["rules"] if rule["health"] != "ok"] == []

    def unknown() -> set[str]:
        return named - set(stack.observed.ask("label/__name__/values"))

    named = {
        name
        for rule in rules()
        for name in re.findall(
            r"\b[a-z_]+:[\w:]+|\b(?:api|catalog|fraud|http|scorer|up)(?:_\w+)?\b(?!\")", rule["expr"]
        )
    }
    assert len(named) > 20
    with suppress(AssertionError):  # which ones is told below
        eventually(lambda: not unknown(), 20)
    assert unknown() == set()


@pytest.mark.parametrize("name", DASHBOARDS)
def test_each_query_of_a_dashboard_finds_something(stack: Stack, name: str) -> None:
    """Asked as Grafana asks, with the defaults of its variables: a number, and not one that is none."""
    values = variables(DASHBOARDS[name])
    asked = {
        # What it falls back on is always there: it is asked without.
        substituted(target["expr"].replace(" or vector(0)", ""), values): panel["title"]
        for panel in panels(DASHBOARDS[name])
        for target in targets(panel)
    }

    def found(query: str) -> bool:
        return any(series["value"][1] != "NaN" for series in stack.observed.query(query))

    def all_found() -> bool:
        if all(map(found, asked)):
            return True
        # What was asked before may be longer ago than a rate looks back.
        stack.use()
        return False

    assert len(asked) > 15
    with suppress(AssertionError):  # which ones are empty is told below
        eventually(all_found, 30)
    assert {query: title for query, title in asked.items() if not found(query)} == {}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_what_else_a_dashboard_asks_is_answered(stack: Stack, name: str) -> None:
    """What it marks may be nothing, but is no error; its variable has the handlers that people ask for."""
    for query in marked(DASHBOARDS[name]):
        stack.observed.query(substituted(query, {}))
    for variable in DASHBOARDS[name]["templating"].get("list", []):
        asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"])
        assert asked
        found = set(stack.observed.ask(f"label/{asked[2]}/values", **{"match[]": asked[1]}))
        assert {"/predict", "/predict/batch", "/feedback"} <= found and not {"/metrics", "/health/ready"} & found


@pytest.mark.parametrize(
    ("project", "drifts", "others"),
    [
        ("catalog", "TextDrift", {"PredictionDrift"}),
        ("fraud", "FraudDataDrift", {"FraudScoreDrift", "FraudAlarmDrift"}),
    ],
)
def test_drift_asks_for_a_retraining(stack: Stack, project: str, drifts: str, others: set[str]) -> None:
    """What drifted becomes an alert, which Alertmanager brings to monitor; here no Airflow takes the wish."""
    eventually(lambda: stack.observed.value(f'{project}_retrainings_total{{outcome="failed"}}'))
    eventually(lambda: drifts in stack.observed.firing())
    assert not others & stack.observed.firing()
    (alert,) = [each for each in stack.observed.alerts() if each["labels"]["alertname"] == drifts]
    assert alert["labels"]["version"] == "1"
    assert [receiver["name"] for receiver in alert["receivers"]] == ["retrain", "duty"]


def test_what_is_down_is_said_once(stack: Stack) -> None:
    """Of an API that is down, nothing else is told; of others it is."""

    def alert(name: str, job: str) -> dict[str, Any]:
        return {"labels": {"alertname": name, "job": job, "instance": "test"}}

    names = {"TargetDown", "ApiErrors", "QueueOld", "RegistryNotAnswering"}
    jobs = {"QueueOld": "ml"}
    fetch(f"{stack.observed.alertmanager}/api/v2/alerts", [alert(name, jobs.get(name, "shop")) for name in names])

    def inhibited() -> set[str]:
        ours = [each for each in stack.observed.alerts() if each["labels"].get("instance") == "test"]
        return {each["labels"]["alertname"] for each in ours if each["status"]["inhibitedBy"]}

    eventually(lambda: inhibited() == {"ApiErrors", "RegistryNotAnswering"})
