"""The scorer's model: found, followed, exchanged; and what is said where there is none."""

from __future__ import annotations

import pytest
from tests.stack.fraud.scorer.conftest import Scorer, StartScorer, expected, record
from tests.stack.web.served import StandIn

from fraud.model import Detector

Two = tuple[Detector, Detector]


def reasons(scorer: Scorer) -> str:
    """Why it is not ready; empty where it is."""
    return "; ".join(scorer.client.get("/health/ready").json().get("reasons", []))


def test_without_anything(start_scorer: StartScorer) -> None:
    """It is alive, is not ready, and says why: of MLflow and of PostgreSQL; where they are, its log alone says."""
    with start_scorer() as scorer:
        scorer.wait(lambda: "MLflow does not answer" in reasons(scorer) and "PostgreSQL does" in reasons(scorer))
        assert scorer.client.get("/health/live").status_code == 200
        answer = scorer.score(record(0))
        assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
        assert "start it (docker compose up -d mlflow-server)" in answer.json()["detail"]
        assert "127.0.0.1" not in reasons(scorer) + answer.text and "127.0.0.1:9" in "".join(scorer.said)
        confirmed = scorer.confirm(("a", True, "2025-01-09T10:00:00"))
        assert confirmed.status_code == 503 and "nothing was recorded" in confirmed.json()["detail"]
        assert scorer.metric('scorer_refused_total{reason="unavailable"}') == 2
        assert scorer.metric("scorer_model_version") == 0
        assert scorer.end() == 0
    assert "Traceback" not in "".join(scorer.said)


def test_a_champion_that_comes_is_exchanged_and_goes(
    start_scorer: StartScorer, registry: StandIn, detectors: Two, database: str
) -> None:
    """Without a restart; one that is damaged leaves the old one in service; a registry that is away is not missed."""
    given = [record(number) for number in range(6)]
    said = [expected(each, given) for each in detectors]
    with start_scorer(MLFLOW_TRACKING_URI=registry.url, LOGGER_SQL_URI=database) as scorer:
        scorer.wait(lambda: "no champion of fraud-detector: train one (gigogne run train_fraud)" in reasons(scorer))
        registry.broken = True
        registry.promote(detectors[0])
        scorer.wait(lambda: "version 1 cannot be loaded: detector.json describes no detector" in reasons(scorer))
        assert scorer.score(given[0]).status_code == 503
        registry.broken = False
        scorer.serves(1)
        assert scorer.score(given[0]).json()["score"] == said[0][given[0]["trans_num"]]
        registry.promote(detectors[1])
        scorer.serves(2)
        after = scorer.score(given[1]).json()
        assert after["model"]["version"] == 2 and after["score"] == said[1][given[1]["trans_num"]]
        registry.broken = True
        registry.promote(detectors[0])
        scorer.wait(lambda: scorer.metric('scorer_model_loads_total{outcome="failed"}') >= 2)
        assert scorer.score(given[2]).json()["model"]["version"] == 2
        registry.stop()
        scorer.wait(lambda: any("does not answer" in line and "MLflow" in line for line in scorer.said))
        assert scorer.score(given[3]).status_code == 200 and reasons(scorer) == ""


@pytest.mark.parametrize(
    ("variables", "code", "said"),
    [
        ({"LOGGER_SQL_URI": "mysql://user:secret-7@h/d"}, 2, "LOGGER_SQL_URI does not begin with postgresql://"),
        ({"MLFLOW_TRACKING_URI": "mlflow"}, 2, "MLFLOW_TRACKING_URI is not the address"),
        ({"SCORER_USERS_FILE": "/nowhere/users"}, 2, "SCORER_USERS_FILE=/nowhere/users cannot be read"),
        ({"SCORER_RATE": "often"}, 2, "SCORER_RATE='often' is not a number"),
        ({"SCORER_TOKEN_KEY": "short-secret-7"}, 2, "SCORER_TOKEN_KEY is too short"),
        ({"SCORER_HOST": "192.0.2.1"}, 2, "SCORER_HOST=192.0.2.1, SCORER_PORT=0: "),
        ({"LANDING_DIR": "/proc/landing"}, 2, "LANDING_DIR=/proc/landing cannot be written"),
    ],
)
def test_wrong_settings(start_scorer: StartScorer, variables: dict[str, str], code: int, said: str) -> None:
    """One line that names the variable and what to do, and exit code 2; a secret is not repeated."""
    with pytest.raises(AssertionError) as ended, start_scorer(**variables):
        pass
    (line,) = str(ended.value).strip().splitlines()
    assert line.startswith("error: ") and said in line and "-7" not in line


def test_two_scorers(start_scorer: StartScorer, tmp_path: object) -> None:
    """The second one that has the same landing folder ends, and says so."""
    refused = pytest.raises(AssertionError, match="another scorer has LANDING_DIR=")
    with start_scorer(LANDING_DIR=tmp_path), refused, start_scorer(LANDING_DIR=tmp_path):
        pass
