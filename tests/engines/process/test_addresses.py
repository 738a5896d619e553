"""Addresses of servers: stable, apart from each other, and told when this system does not answer on them."""

from __future__ import annotations

import ipaddress

import pytest

from gigogne.engines.process.addresses import server_addresses, unanswered
from gigogne.errors import EngineError


def test_each_server_has_its_own_loopback_address() -> None:
    """All differ, all end in 2 to 254, and the order of the names does not matter."""
    names = [f"s{number}" for number in range(200)]
    found = server_addresses("p", names)
    assert len(set(found.values())) == 200 and found == server_addresses("p", reversed(names))
    assert all(a.is_loopback and 2 <= a.packed[3] <= 254 for a in map(ipaddress.IPv4Address, found.values()))


def test_another_server_does_not_move_the_others() -> None:
    """A server that is kept up is still found after one more was added."""
    before = server_addresses("mlops", ["minio", "postgres"])
    after = server_addresses("mlops", ["grafana", "minio", "postgres"])
    assert before.items() <= after.items()


def test_projects_do_not_meet() -> None:
    """The same server of two projects has two addresses."""
    assert server_addresses("one", ["postgres"]) != server_addresses("two", ["postgres"])


def test_too_many_servers_are_refused() -> None:
    """More servers than addresses is an error that says what to do."""
    with pytest.raises(EngineError, match="254 servers"):
        server_addresses("p", [str(number) for number in range(254)])


def test_an_address_that_does_not_answer_is_found() -> None:
    """An address that this machine does not have (as 127.77.0.2 on macOS) is told apart from one that it has."""
    assert unanswered(["127.0.0.1", "192.0.2.1"]) == ["192.0.2.1"]
