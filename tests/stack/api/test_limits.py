"""How often, how much, and how slowly a client may ask."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.types import Message, Receive, Scope, Send
from tests.stack.api.conftest import Api, StartApi

from api.limits import MOST_CLIENTS, Limits, Rate
from api.server import allow_connections

if sys.platform != "win32":
    import resource


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        """The time that it shows."""
        return self.time


def test_rate() -> None:
    """After a burst, one request whenever one is due; who waits as long as told is let in; clients are apart."""
    clock = Clock()
    rate = Rate(2, 4, clock)
    assert [rate.wait("a") for _ in range(4)] == [0, 0, 0, 0]
    assert rate.wait("a") == pytest.approx(0.5) and rate.wait("b") == 0
    clock.time += 0.25
    late = rate.wait("a")
    assert late == pytest.approx(0.25)
    clock.time += late
    assert rate.wait("a") == 0 and rate.wait("a") == pytest.approx(0.5)
    clock.time += 60
    assert [rate.wait("a") > 0 for _ in range(5)] == [False] * 4 + [True]


@pytest.mark.parametrize(("per_second", "burst"), [(50, 200), (3, 2), (0.1, 7), (1e9, 1_000_000_000)])
def test_rate_is_kept(per_second: float, burst: int) -> None:
    """Over a long time nobody gets more than the rate and one burst, nor less, however the requests come."""
    clock = Clock()
    rate = Rate(per_second, burst, clock)
    let_in = 0
    for _ in range(2000):
        clock.time += 0.3 / per_second
        let_in += rate.wait("a") == 0
    assert let_in == pytest.approx(min(2000, 600 + burst), abs=2)


def test_what_costs_more_is_charged() -> None:
    """The next request waits until all that was charged would have been due; a client that never asked owes nothing."""
    clock = Clock()
    rate = Rate(2, 4, clock)
    rate.charge("b", 100)
    assert rate.wait("a") == 0 == rate.wait("b")
    rate.charge("a", 10)
    assert rate.wait("a") == pytest.approx(4)
    clock.time += 4
    assert rate.wait("a") == 0 and rate.wait("a") == pytest.approx(0.5)


def test_rate_forgets() -> None:
    """Memory is bounded, however many clients there are; who was quiet is forgotten first."""
    clock = Clock()
    rate = Rate(1, 2, clock)
    for number in range(MOST_CLIENTS * 2):
        clock.time += 0.001
        assert rate.wait(f"client {number}") == 0
    assert len(rate._due) <= MOST_CLIENTS
    assert rate.wait(f"client {number}") == 0 and rate.wait(f"client {number}") > 0


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


def ask(limits: Limits, messages: Iterator[Message], pause: float) -> list[Message]:
    """What is answered to a body that comes in these parts."""
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(pause)
        return next(messages, {"type": "http.disconnect"})

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http",
        "path": "/predict",
        "client": ("a", 1),
        "headers": [(b"transfer-encoding", b"chunked")],
    }
    asyncio.run(limits(scope, receive, send))
    return sent


def part(body: bytes, more: bool = True) -> Message:
    """A part of a body."""
    return {"type": "http.request", "body": body, "more_body": more}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the length of the body."""
    message = await receive()
    assert not message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(len(message["body"])).encode()})


@pytest.mark.parametrize(
    ("parts", "pause", "status", "said"),
    [
        ([part(b"a" * 1000)] * 3 + [part(b"", more=False)], 0, 200, "3000"),
        ([part(b"a" * (2 << 20), more=False)], 0, 200, "2097152"),
        ([part(b"a" * (2 << 20)), part(b"a", more=False)], 0, 413, "2 MiB"),
        ([part(b"a")] * 1000, 0.02, 408, "longer than 0.2 s"),
    ],
)
def test_bodies(parts: list[Message], pause: float, status: int, said: str) -> None:
    """A body is whole, small enough and quick enough when the application sees it, or it never does."""
    limits = Limits(echo, Rate(1e6, 1000), body_seconds=0.2)
    head, body, *_ = ask(limits, iter(parts), pause)
    assert head["status"] == status and said in body["body"].decode()


def test_a_client_that_goes_away() -> None:
    """Nobody is answered, and the application is not asked."""
    gone: Message = {"type": "http.disconnect"}
    assert ask(Limits(echo, Rate(1e6, 1000)), iter([part(b"a"), gone]), 0) == []


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
