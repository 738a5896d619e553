"""How often, how much, and how slowly a client may ask."""

from __future__ import annotations

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.stack.api.conftest import Api, StartApi

from web.server import allow_connections

if sys.platform != "win32":
    import resource


def test_too_many_requests(start_api: StartApi) -> None:
    """Over the rate a client is told when to ask again; health is free of it, and metrics have a rate of their own."""
    with start_api(API_RATE=0.2, API_BURST=3) as api:
        answers = [api.client.get("/categories") for _ in range(4)]
        assert [each.status_code for each in answers] == [200, 200, 200, 429]
        assert answers[3].headers["content-type"] == "application/problem+json"
        assert 0 < int(answers[3].headers["retry-after"]) <= 5
        assert {api.client.get("/health/live").status_code for _ in range(20)} == {200}
        assert api.metric('api_refused_total{reason="rate"}') == 1
        with ThreadPoolExecutor(8) as pool:
            scrapes = list(pool.map(lambda _: api.client.get("/metrics").status_code, range(100)))
        assert 200 in scrapes and 429 in scrapes


def test_large_bodies_count_as_several_requests(start_api: StartApi) -> None:
    """What takes as long as many requests is one of many; who has a body refused unread is hung up on after it."""
    with start_api(API_RATE=0.2, API_BURST=3) as api:
        body = b"a" * (1 << 20)
        first, second = (api.client.post("/predict", data=body) for _ in range(2))
        assert (first.status_code, second.status_code) == (415, 429)
        assert int(second.headers["retry-after"]) > 5 * 50 and second.headers["connection"] == "close"


def connect(api: Api) -> socket.socket:
    """A connection to an API."""
    host, port = api.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def head(client: socket.socket) -> str:
    """The first line of what comes."""
    return client.recv(4096).split(b"\r\n")[0].decode()


def test_slow_clients(served: Api) -> None:
    """Who does not get to an end of asking is answered with 408 and hung up on; others do not notice."""
    parts: dict[str, bytes] = {
        "nothing": b"",
        "half a head": b"POST /predict HTTP/1.1\r\nHost: a\r\n",
        "half a body": b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{",
        "a line": b"\r\n",
        "a line after an answer": b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n",
    }
    clients = {name: connect(served) for name in parts}
    for name, client in clients.items():
        client.sendall(parts[name])
    answered = clients["a line after an answer"]
    said = b""
    while not said.endswith(b'{"status":"alive"}'):
        said += answered.recv(1)
    answered.sendall(b"\r\n")
    assert served.predict().status_code == 200
    for name, client in clients.items():
        answer = b"".join(iter(lambda c=client: c.recv(4096), b""))  # type: ignore[misc]
        assert answer.startswith(b"HTTP/1.1 408 "), name
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == 408
        client.close()
    assert served.metric('api_refused_total{reason="slow"}') == 1


@pytest.mark.parametrize("more", [b"", b"a"])
def test_the_rest_of_a_body_that_is_refused(served: Api, more: bytes) -> None:
    """It is waited for for a moment, and then the connection ends, whether a part of it comes or nothing."""
    with connect(served) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n")
        began = client.recv(4096)
        client.sendall(more)
        answer = began + b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 413 ") and b"connection: close" in answer and b'"status": 413' in answer


def test_nonsense_after_a_request(served: Api) -> None:
    """The request has its answer, and nothing comes before it; then the connection ends."""
    body = json.dumps({"products": [{"designation": "roman", "description": "a b " * 10_000}] * 20})
    headers = ["POST /predict/batch HTTP/1.1", "Host: a", "Content-Type: application/json"]
    asked = "\r\n".join([*headers, f"Content-Length: {len(body)}", "", body]).encode()
    with connect(served) as client:
        client.sendall(asked + b"\x16\x03\x01 is TLS\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 200 ") and answer.count(b"HTTP/1.1") == 1
    assert len(json.loads(answer.partition(b"\r\n\r\n")[2])["predictions"]) == 20


def test_a_body_that_breaks_off_into_nonsense(served: Api) -> None:
    """It is no HTTP, and is told so at once."""
    with connect(served) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\nnonsense\r\n")
        assert head(client) == "HTTP/1.1 400 Bad Request"


def test_a_thousand_connections(served: Api) -> None:
    """All are accepted, and all are answered, beside those that say nothing."""
    allow_connections()
    if sys.platform != "win32" and (files := resource.getrlimit(resource.RLIMIT_NOFILE)[0]) < 1200:
        pytest.skip(f"no 1,200 open files: ulimit -Hn is {files}")
    idle = [connect(served) for _ in range(1000)]
    body = json.dumps({"designation": "roman"})
    headers = ["POST /predict HTTP/1.1", "Host: a", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    asked = "\r\n".join([*headers, "", body])
    assert served.predict().status_code == 200
    for client in idle:
        client.sendall(asked.encode())
    assert {head(client) for client in idle} == {"HTTP/1.1 200 OK"}
    for client in idle:
        client.close()
