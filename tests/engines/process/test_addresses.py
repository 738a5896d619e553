"""Addresses of servers: stable, apart from each other, and told when this system does not answer on them."""

from __future__ import annotations

import ipaddress

from gigogne.engines.process.addresses import server_addresses, unanswered


def test_each_server_has_its_own_loopback_address() -> None:
    """All differ, all end in 2 to 254, and the order of the names does not matter."""
    names = [f"s{number}" for number in range(200)]
    found = server_addresses("p", names)
    assert len(set(found.values())) == 200 and found == server_addresses("p", reversed(names))
    assert all(a.is_loopback and 2 <= a.packed[3] <= 254 for a in map(ipaddress.IPv4Address, found.values()))


def test_another_server_does_not_move_the_others() -> None:
    """A server that is up is found by a run which knows fewer servers: another profile's, or another file's."""
    all_of_them = (
        "alertmanager api grafana logger_live minio mlflow-server mongodb monitor postgres prometheus scorer".split()
    )
    for project in ("fraud-e8cf6a9b", *(f"project-{number}" for number in range(2_000))):
        everywhere = server_addresses(project, all_of_them)
        for name in ("minio", "postgres", "scorer"):
            assert server_addresses(project, [name])[name] == everywhere[name], project


def test_projects_do_not_meet() -> None:
    """The same server of two projects has two addresses."""
    assert server_addresses("one", ["postgres"]) != server_addresses("two", ["postgres"])


def test_an_address_that_does_not_answer_is_found() -> None:
    """An address that this machine does not have (as 127.77.0.2 on macOS) is told apart from one that it has."""
    assert unanswered(["127.0.0.1", "192.0.2.1"]) == ["192.0.2.1"]
