"""Batches: one at a time, a few that wait, and single products before all of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from api import predicting
from api.app import create_app
from api.metrics import Metrics
from api.model import Champion, Model
from api.predicting import MOST_BATCHES
from catalog.champion import Version
from catalog.classifier import Classifier
from web.auth import Auth
from web.observing import Draining
from web.users import Users

BATCH = {"products": [{"designation": f"roman livre {number}"} for number in range(50)]}


class Kept(list[dict[str, Any]]):
    """Keeps documents in their order."""

    def put(self, collection: str, document: dict[str, Any]) -> None:
        """Keep one."""
        self.append(document)


def test_batches_wait_and_single_products_do_not(
    classifiers: tuple[Classifier, Classifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight batches are taken and answered one after the other, a ninth is told to come back; others go in between."""
    monkeypatch.setattr(predicting, "TURN_SECONDS", 0.0)  # a turn is a product
    metrics, kept = Metrics(), Kept()
    champion = Champion("http://127.0.0.1:9", 10, metrics)
    champion.model = Model(Version(1, "run", datetime.now(UTC), {}), classifiers[0], datetime.now(UTC))
    auth = Auth(Users(), "", 30, realm="catalogue", limit=lambda client: 0.0)
    app = create_app(champion, kept, auth, metrics, Draining())

    async def run() -> tuple[list[httpx2.Response], httpx2.Response, httpx2.Response]:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://api") as client:
            batches = [asyncio.create_task(client.post("/predict/batch", json=BATCH)) for _ in range(MOST_BATCHES + 1)]
            while not kept:
                await asyncio.sleep(0)
            single = await client.post("/predict", json={"designation": "magazine"})
            answers = await asyncio.gather(*batches)
            return answers, single, await client.post("/predict/batch", json=BATCH)

    answers, single, after = asyncio.run(run())
    *taken, refused = sorted(answers, key=lambda answer: answer.status_code)
    assert {answer.status_code for answer in (*taken, single, after)} == {200}
    assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 0
    assert refused.headers["content-type"] == "application/problem+json"
    place = next(place for place, document in enumerate(kept) if document["source"] == "one")
    assert 0 < place < 50
    # Those of a batch are together: nobody waits for all to get on a little.
    order = [document["_id"] for document in kept if document["source"] == "batch"]
    given = [[each["id"] for each in answer.json()["predictions"]] for answer in (*taken, after)]
    assert sorted(order[start : start + 50] for start in range(0, len(order), 50)) == sorted(given)
