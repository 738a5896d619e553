"""What the API answers to requests that are right, and to those that are not."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import uuid
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import requests
from starlette.types import Message
from tests.stack.api.conftest import Api, StartApi

from api.app import create_app
from api.metrics import Metrics
from api.model import Champion, Model
from catalog.champion import Version
from catalog.classifier import Classifier
from catalog.names import CATEGORIES
from catalog.text import clean
from web.auth import Auth
from web.guard import guard
from web.limits import Rate
from web.observing import Draining
from web.users import Users

JSON = {"Content-Type": "application/json"}
POLICY = "default-src 'none'; frame-ancestors 'none'"


def refused(answer: requests.Response, status: int) -> dict[str, Any]:
    """The problem that an answer is."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status and found["title"] and found["detail"] and found["type"] == "about:blank"
    # Nothing of what is inside: no path, no module, no traceback.
    assert not re.search(r"Traceback|\.py\b|/site-packages/|pydantic|127\.0\.0\.1", answer.text)
    return found


def test_prediction(served: Api, classifiers: tuple[Classifier, Classifier]) -> None:
    """The likeliest categories, by the champion, of the texts as training cleaned them."""
    title, text = "ROMAN &amp; <b>livre</b>", "<p>Tome&nbsp;1</p>"
    answer = served.predict(title, description=text)
    assert answer.status_code == 200 and answer.headers["content-security-policy"] == POLICY
    found = answer.json()
    (chances,) = classifiers[0].predict_proba([(clean(title), clean(text))])
    expected = [(int(classifiers[0].labels[place]), float(chances[place])) for place in np.argsort(-chances)]
    assert [each["code"] for each in found["categories"]] == [code for code, _ in expected]
    assert [each["probability"] for each in found["categories"]] == pytest.approx([p for _, p in expected], abs=1e-6)
    assert [each["name"] for each in found["categories"]] == [CATEGORIES[code] for code, _ in expected]
    assert found["model"] == {"name": "catalog-classifier", "version": 1}
    assert uuid.UUID(found["id"]).hex == found["id"]


def test_how_many_categories(served: Api) -> None:
    """`top_k` of them, as far as the model knows so many."""
    product = {"designation": "console"}
    counts = [len(served.client.post(f"/predict?top_k={k}", json=product).json()["categories"]) for k in (1, 2, 27)]
    assert counts == [1, 2, 3]


def test_batch(served: Api) -> None:
    """Each product has the answer that it would have alone, in the order of the request."""
    titles = ["roman", "console manette", "magazine revue", "roman"]
    answer = served.client.post("/predict/batch?top_k=2", json={"products": [{"designation": t} for t in titles]})
    found = answer.json()
    assert answer.status_code == 200 and found["model"]["version"] == 1
    alone = [served.client.post("/predict?top_k=2", json={"designation": title}).json() for title in titles]
    assert [each["categories"] for each in found["predictions"]] == [each["categories"] for each in alone]
    assert len({each["id"] for each in found["predictions"]}) == 4


@pytest.mark.parametrize("text", ["", "a" * 50_000, "<" * 50_000, "é\u0301" * 20_000, "\x00\u202e"])
def test_odd_descriptions(served: Api, text: str) -> None:
    """What is long, or no text that people write, is predicted like any other."""
    assert served.predict(description=text).status_code == 200


@pytest.mark.parametrize(
    ("body", "where", "what"),
    [
        (b"", "body", "Invalid JSON"),
        (b"{", "body", "Invalid JSON"),
        (b"\xff", "body", "Invalid JSON"),
        (b"[" * 100_000, "body", "recursion limit"),
        (b"null", "body", "be an object"),
        (b"{}", "body.designation", "Field required"),
        (b'{"designation": ""}', "body.designation", "at least 1 character"),
        (b'{"designation": " \\t\\u00a0"}', "body.designation", "is blank"),
        (b'{"designation": 5}', "body.designation", "valid string"),
        (b'{"designation": null}', "body.designation", "valid string"),
        (b'{"designation": "\\ud800"}', "body", "Invalid JSON"),
        (b'{"designation": "%s"}' % (b"a" * 1001), "body.designation", "at most 1000"),
        (b'{"designation": "a", "description": "%s"}' % (b"a" * 50_001), "body.description", "at most 50000"),
        (b'{"designation": "a", "descripton": "b"}', "body.descripton", "not permitted"),
        (b'{"designation": %s}' % (b"1" * 5_000), "body", "out of range"),
        (b"{%s}" % b",".join(b'"%d":0' % number for number in range(200_000)), "body", "has 200001 mistakes"),
    ],
)
def test_products_that_are_none(served: Api, body: bytes, where: str, what: str) -> None:
    """Each mistake is named by its place, in one answer of status 422; what was sent is not repeated."""
    found = refused(served.client.post("/predict", data=body, headers=JSON), 422)
    assert found["errors"][0]["where"] == where and what in found["errors"][0]["what"]
    assert found["errors"][0]["what"] in found["detail"] and len(json.dumps(found)) < 1000


def test_batches_that_are_none(served: Api) -> None:
    """None, too many, and wrong ones among right ones; of many mistakes the first are told."""
    right, wrong = {"designation": "a"}, {"designation": ""}
    empty = refused(served.client.post("/predict/batch", json={"products": []}), 422)
    assert "at least 1 item" in empty["detail"]
    many = json.dumps({"products": [{"designation": ""}] * 100_000}, separators=(",", ":")).encode()
    assert len(many) < 2 << 20
    assert "at most 1000" in refused(served.client.post("/predict/batch", data=many, headers=JSON), 422)["detail"]
    mixed = refused(served.client.post("/predict/batch", json={"products": [right, wrong] * 500}), 422)
    assert mixed["errors"][0]["where"] == "body.products.1.designation"
    assert len(mixed["errors"]) == 20 and "and 499 more" in mixed["detail"]


@pytest.mark.parametrize("top_k", ["0", "28", "x", "1.5", ""])
def test_impossible_counts(served: Api, top_k: str) -> None:
    """`top_k` is a whole number from 1 to 27."""
    found = refused(served.client.post(f"/predict?top_k={top_k}", json={"designation": "a"}), 422)
    assert found["errors"][0]["where"] == "query.top_k"


def test_bodies_of_another_kind(served: Api) -> None:
    """What is not said to be JSON is not read as such."""
    before = served.metric('api_refused_total{reason="validation"}')
    found = refused(served.client.post("/predict", data={"designation": "a"}), 415)
    assert "application/json" in found["detail"]
    assert served.metric('api_refused_total{reason="validation"}') == before + 1


def test_ten_megabytes(served: Api) -> None:
    """A body that is too large is refused by its header alone, and as it comes where no header tells its size."""
    large = b"a" * (10 << 20)
    told = served.client.post("/predict", data=large, headers=JSON)
    assert "2 MiB" in refused(told, 413)["detail"] and told.headers["connection"] == "close"
    refused(served.client.post("/predict", data=(large[:65_536] for _ in range(160)), headers=JSON), 413)
    served.wait(lambda: served.metric('api_refused_total{reason="size"}') >= 2)


def test_unknown_addresses_and_methods(served: Api) -> None:
    """What is not there, and what cannot be done with what is there, are problems too."""
    refused(served.client.get("/nothing"), 404)
    refused(served.client.get("/page/../../etc/passwd"), 404)
    refused(served.client.get("/docs/%2e%2e%2fstart.js"), 404)
    wrong = served.client.delete("/predict")
    assert refused(wrong, 405) and wrong.headers["allow"] == "POST"


def test_what_is_no_http(served: Api) -> None:
    """Not even that is answered by anything but a problem; the server goes on."""
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(b"\x16\x03\x01 is TLS\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400 ") and b"application/problem+json" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == 400
    assert served.predict().status_code == 200


def test_feedback(served: Api) -> None:
    """Who is signed in says what a prediction should have been; whether people agree is counted."""
    predicted = served.predict().json()
    signed = {"Authorization": f"Bearer {served.token()}"}
    codes = [each["code"] for each in predicted["categories"]]
    counted = {word: served.metric(f'api_feedback_total{{agrees="{word}"}}') for word in ("yes", "no", "unknown")}
    for prediction, code in ((predicted["id"], codes[0]), (predicted["id"], codes[1]), (uuid.uuid4().hex, 10)):
        given = {"prediction_id": prediction, "code": code, "comment": "é"}
        answer = served.client.post("/feedback", json=given, headers=signed)
        assert answer.status_code == 202 and uuid.UUID(answer.json()["id"])
    for word, before in counted.items():
        assert served.metric(f'api_feedback_total{{agrees="{word}"}}') == before + 1


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"prediction_id": "x"}, "body.prediction_id"),
        ({"code": 99}, "body.code"),
        ({"code": "10"}, "body.code"),
        ({"code": True}, "body.code"),
        ({"comment": "a" * 501}, "body.comment"),
        ({"comment": "\ud800"}, "body.comment"),
        ({"more": 1}, "body.more"),
    ],
)
def test_feedback_that_is_none(served: Api, change: dict[str, Any], where: str) -> None:
    """A prediction is named by its id, a category by one of the 27 codes."""
    given = json.dumps({"prediction_id": uuid.uuid4().hex, "code": 10, **change})
    signed = {"Authorization": f"Bearer {served.token()}", **JSON}
    assert refused(served.client.post("/feedback", data=given, headers=signed), 422)["errors"][0]["where"] == where


def test_feedback_of_nobody(served: Api) -> None:
    """Without a token, or with a wrong one, nothing is taken, whatever it is."""
    for header in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic YTpi"}):
        for body in (b"{}", b"{"):
            answer = served.client.post("/feedback", data=body, headers={**JSON, **header})
            assert refused(answer, 401) and answer.headers["www-authenticate"].startswith("Bearer")
    signed = {**JSON, "Authorization": f"Bearer {served.token()}"}
    refused(served.client.post("/feedback", data=b"{", headers=signed), 422)


def test_what_is_served(served: Api) -> None:
    """The model in service, and every category by its name."""
    model = served.client.get("/model").json()
    assert (model["name"], model["version"], model["run_id"]) == ("catalog-classifier", 1, "run-1")
    assert model["created_at"] == "2026-11-01T01:00:00Z" and model["loaded_at"] > model["created_at"]
    assert {each["code"]: each["name"] for each in served.client.get("/categories").json()} == CATEGORIES
    assert served.client.get("/health/ready").json() == {"status": "ready", "model_version": 1}


def test_documentation_needs_no_internet(served: Api) -> None:
    """`/docs` and all that it loads come from here, under a policy that allows no script in the page itself."""
    page = served.client.get("/docs")
    assert "script-src 'self';" in page.headers["content-security-policy"]
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {"docs/swagger-ui-bundle.js", "docs/start.js", "docs/swagger-ui.css"} <= set(loaded)
    assert all(served.client.get(f"/{each}").status_code == 200 for each in loaded)
    assert "//" not in "".join(loaded) and re.findall(r"<script(?! src=)", page.text) == []


def test_description_of_the_api(served: Api) -> None:
    """Every operation says how it may refuse, as a problem; bodies have examples that are valid."""
    described = served.client.get("/openapi.json").json()
    assert described["info"]["title"] == "Catalogue API"
    for path, operations in described["paths"].items():
        for operation in operations.values():
            refusals = {status: each for status, each in operation["responses"].items() if status >= "400"}
            assert "429" in refusals or path == "/health/live"
            assert all(list(each["content"]) == ["application/problem+json"] for each in refusals.values()), path
    (example,) = described["components"]["schemas"]["Products"]["examples"]
    assert served.client.post("/predict/batch", json=example).status_code == 200


def test_metrics(served: Api) -> None:
    """Requests by route and status, predictions by category and version; no series for each odd address."""
    before = served.metric('api_predictions_total{code="10",model_version="1"}')
    served.predict("roman livre poche")
    served.client.get(f"/{uuid.uuid4().hex}")
    text = served.client.get("/metrics").text
    assert served.metric('api_predictions_total{code="10",model_version="1"}') == before + 1
    assert served.metric('http_requests_total{handler="/predict",method="POST",status="200"}') >= 1
    assert served.metric("api_model_version") == 1 and served.metric("api_model_created_timestamp_seconds") > 1.7e9
    handlers = set(re.findall(r'handler="([^"]+)"', text))
    assert {"/predict", "none"} <= handlers and len(handlers) < 20
    assert "process_resident_memory_bytes" in text and not re.search(r"_created[ {]", text)


def test_other_sites(start_api: StartApi) -> None:
    """A page of another site may ask where its origin is named, and nowhere else; its refusals can be read too."""
    with start_api(API_ORIGINS="https://shop.example.com", API_RATE=0.01, API_BURST=2) as api:
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        for origin, allowed in (("https://shop.example.com", True), ("https://evil.example.com", False)):
            before = api.client.options("/predict", headers={**asked, "Origin": origin})
            after = [api.client.post("/predict", json={}, headers={"Origin": origin}) for _ in range(3)][-1]
            assert after.status_code == 429
            assert [each.headers.get("access-control-allow-origin") for each in (before, after)] == (
                [origin, origin] if allowed else [None, None]
            )
            assert not allowed or "Retry-After" in after.headers["access-control-expose-headers"]


def test_a_failure_of_ours(classifiers: tuple[Classifier, Classifier]) -> None:
    """What nobody foresaw is a problem of status 500 that says nothing of it; the log has it all."""

    class Broken:
        def put(self, collection: str, document: dict[str, Any]) -> None:
            raise RuntimeError("secret of the house")

    metrics, draining = Metrics(), Draining()
    champion = Champion("http://127.0.0.1:9", 10, metrics)
    champion.model = Model(Version(1, "run", datetime.now(UTC), {}), classifiers[0], datetime.now(UTC))
    auth = Auth(Users(), "", 30, realm="catalogue", limit=lambda client: 0.0)
    app = guard(create_app(champion, Broken(), auth, metrics, draining), Rate(10, 10), metrics, draining)
    body, sent = b'{"designation": "roman"}', list[Message]()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    about = {"path": "/predict", "query_string": b"", "headers": headers, "client": ("127.0.0.1", 1), "state": {}}

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    async def send(message: Message) -> None:
        sent.append(message)

    async def ask() -> None:
        await app({"type": "http", "method": "POST", **about}, receive, send)

    with pytest.raises(RuntimeError):
        asyncio.run(ask())
    assert sent[0]["status"] == 500 and (b"content-type", b"application/problem+json") in sent[0]["headers"]
    assert "secret" not in sent[1]["body"].decode() and json.loads(sent[1]["body"])["status"] == 500
