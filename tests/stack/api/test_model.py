"""The champion: found, followed, and served on when the registry has nothing better to give."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from tests.stack.api.conftest import Api, StandIn, StartApi

from api.metrics import Metrics
from api.model import Champion
from catalog.champion import Registry
from catalog.classifier import Classifier

Two = tuple[Classifier, Classifier]


def reasons(api: Api) -> list[str]:
    """Why it is not ready; empty where it is."""
    found: list[str] = api.client.get("/health/ready").json().get("reasons", [])
    return found


def lines(api: Api, words: str) -> int:
    """How many lines of its log have these words."""
    return sum(words in line for line in api.said)


def test_without_a_registry(start_api: StartApi) -> None:
    """It is alive, is not ready, and says why: where the registry is, its log says, and nobody else is told."""
    with start_api() as api:
        api.wait(lambda: "does not answer" in "".join(reasons(api)))
        assert api.client.get("/health/live").json() == {"status": "alive"}
        ready = api.client.get("/health/ready")
        assert ready.status_code == 503 and int(ready.headers["retry-after"]) > 0
        assert ready.json()["reasons"] == ["MLflow does not answer: start it (docker compose up -d mlflow-server)"]
        assert "127.0.0.1" not in ready.text and lines(api, "MLflow at http://127.0.0.1:9 does not answer") == 1
        for answer in (api.predict(), api.client.get("/model")):
            assert answer.status_code == 503 and answer.json()["detail"] and int(answer.headers["retry-after"]) > 0
        assert api.client.get("/").status_code == 200 and api.client.get("/categories").status_code == 200
        assert api.metric('api_refused_total{reason="no_model"}') == 2 and api.metric("api_model_version") == 0
        assert api.metric("api_model_last_check_timestamp_seconds") == 0


def test_a_champion_that_comes_and_goes(start_api: StartApi, registry: StandIn, classifiers: Two) -> None:
    """Without one it is not ready; the first is served as soon as it is promoted; one that is no more serves on."""
    with start_api(MLFLOW_TRACKING_URI=registry.url) as api:
        api.wait(lambda: "no champion" in "".join(reasons(api)))
        registry.promote(classifiers[0])
        api.serves(1)
        registry.demote()
        api.wait(lambda: lines(api, "no champion") == 2)
        assert api.predict().json()["model"]["version"] == 1
        assert api.metric('api_model_loads_total{outcome="loaded"}') == 1 == registry.loaded


def test_a_new_champion(start_api: StartApi, registry: StandIn, classifiers: Two) -> None:
    """The new one answers, its numbers are told, and each prediction says which one it is of."""
    registry.promote(classifiers[0])
    with start_api(MLFLOW_TRACKING_URI=registry.url) as api:
        api.serves(1)
        before = api.predict("collection").json()
        registry.promote(classifiers[1])
        api.serves(2)
        after = api.predict("collection").json()
        assert (before["model"]["version"], after["model"]["version"]) == (1, 2)
        assert before["categories"] != after["categories"]
        assert api.metric("api_model_version") == 2
        created = datetime(2026, 11, 1, 2, tzinfo=UTC).timestamp()
        assert api.metric("api_model_created_timestamp_seconds") == created
        assert api.metric('api_model_loads_total{outcome="loaded"}') == 2


def test_a_broken_champion(start_api: StartApi, registry: StandIn, classifiers: Two) -> None:
    """A version whose files are damaged leaves the old one in service, and is told of once; mended, it serves."""
    registry.promote(classifiers[0])
    with start_api(MLFLOW_TRACKING_URI=registry.url) as api:
        api.serves(1)
        registry.broken = True
        registry.promote(classifiers[1])
        api.wait(lambda: api.metric('api_model_loads_total{outcome="failed"}') >= 2)
        assert api.predict().json()["model"]["version"] == 1 and api.client.get("/health/ready").status_code == 200
        assert lines(api, "version 2 cannot be loaded: ") == 1 and "Traceback" not in "".join(api.said)
        registry.broken = False
        api.serves(2)


def test_a_broken_first_champion(start_api: StartApi, registry: StandIn, classifiers: Two) -> None:
    """Where there is no other, it is not ready, and says what is wrong with the model."""
    registry.broken = True
    registry.promote(classifiers[0])
    with start_api(MLFLOW_TRACKING_URI=registry.url) as api:
        api.wait(lambda: "version 1 cannot be loaded: " in "".join(reasons(api)))
        assert api.predict().status_code == 503


def test_a_registry_that_goes_away(start_api: StartApi, registry: StandIn, classifiers: Two) -> None:
    """The model serves on; that the registry is away is told once, and so is its return."""
    registry.promote(classifiers[0])
    with start_api(MLFLOW_TRACKING_URI=registry.url) as api:
        api.serves(1)
        registry.stop()
        api.wait(lambda: lines(api, "does not answer"))
        checked = api.metric("api_model_last_check_timestamp_seconds")
        assert checked > 0 and all(api.predict().status_code == 200 for _ in range(50))
        assert api.client.get("/health/ready").status_code == 200
        assert api.metric("api_model_last_check_timestamp_seconds") == checked
        registry.start()
        registry.promote(classifiers[1])
        api.serves(2)
        assert lines(api, "does not answer") == 1


def test_a_slow_registry(start_api: StartApi, registry: StandIn, classifiers: Two) -> None:
    """While it answers late, requests are answered as ever: by the old model, until the new one is whole."""
    registry.promote(classifiers[0])
    with start_api(MLFLOW_TRACKING_URI=registry.url) as api:
        api.serves(1)
        registry.delay = 0.4
        registry.promote(classifiers[1])
        versions, until = list[int](), time.monotonic() + 20
        while 2 not in versions:
            assert time.monotonic() < until, "".join(api.said)
            versions.append(api.predict().json()["model"]["version"])
        assert versions == sorted(versions) and versions.count(1) > 10


def test_a_model_that_cannot_be_fetched_is_not_fetched_at_each_look(registry: StandIn, classifiers: Two) -> None:
    """A download takes the network and MLflow's time: one that failed waits like any other failure."""
    registry.promote(classifiers[0])
    registry.missing = True
    champion = Champion(registry.url, 1000, Metrics())
    reasons = {champion.look() for _ in range(5)}
    assert (registry.asked, registry.loaded, champion.model) == (5, 1, None)
    assert "refuses with HTTP 404" in reasons.pop() and not reasons


@contextmanager
def watching(registry: StandIn) -> Iterator[Champion]:
    """A champion that is looked for in this process."""
    champion = Champion(registry.url, 0.05, Metrics())
    champion.start()
    yield champion
    champion.stop()


def until(true: Callable[[], object]) -> None:
    """Wait for another thread."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_nobody_foresaw_is_told_in_the_log_alone(
    registry: StandIn, classifiers: Two, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No disk for the files, say: anybody may know of what kind it is; when it is over, the model is loaded."""
    registry.promote(classifiers[0])
    monkeypatch.setattr(tempfile, "tempdir", "/secret-of-the-house")
    with watching(registry) as champion:
        until(lambda: champion.reason.startswith("version 1 cannot be loaded: FileNotFoundError"))
        assert "secret" not in champion.reason and "/secret-of-the-house" in caplog.text
        monkeypatch.undo()
        until(lambda: champion.model and not champion.reason)


def test_the_watch_goes_on_whatever_happens(
    registry: StandIn, classifiers: Two, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A thread that died would leave the old model in service for ever, and nobody would know."""

    def fails(self: Registry) -> None:
        raise ArithmeticError("secret of the house")

    registry.promote(classifiers[0])
    monkeypatch.setattr(Registry, "champion", fails)
    with watching(registry) as champion:
        until(lambda: champion.reason == "the registry cannot be read: ArithmeticError, see the log of the server")
        until(lambda: "secret of the house" in caplog.text)
        monkeypatch.undo()
        until(lambda: champion.model and not champion.reason)
    assert caplog.text.count("secret of the house") == 1


def test_predictions_are_counted_for_two_versions() -> None:
    """That in service and the one before: those of older ones end, or there would be more with each training."""
    metrics = Metrics()

    def counted(version: int) -> float | None:
        labels = {"code": "10", "model_version": str(version)}
        return metrics.registry.get_sample_value("api_predictions_total", labels)

    for version in (1, 2, 3, 2):
        metrics.serves(version, 0.0)
        metrics.prediction(10, 0.5, version)
    assert [counted(version) for version in (1, 2, 3)] == [None, 2, 1]
    metrics.serves(4, 0.0)
    metrics.serves(3, 0.0)
    metrics.prediction(10, 0.5, 3)
    assert [counted(version) for version in (2, 3)] == [None, 1]
