"""How often, how much, and how slowly a client may ask: what lets it in, by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from starlette.types import Message, Receive, Scope, Send

from web.limits import MOST_CLIENTS, Limits, Rate


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
