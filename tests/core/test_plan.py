"""The plan: order, causes, kinds; compared as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gigogne.compose.model import project_of
from gigogne.core.graph import kinds
from gigogne.core.model import Project
from gigogne.core.plan import default_servers, default_targets, make_plan
from gigogne.errors import ComposeError


def project(services: dict[str, Any], **top: Any) -> Project:
    """A project in Compose's canonical form."""
    for service in services.values():
        service["depends_on"] = {
            name: value if isinstance(value, dict) else {"condition": f"service_{value}", "required": True}
            for name, value in service.get("depends_on", {}).items()
        }
    return project_of({"name": "p", "services": services, **top}, directory=Path("/p"), files=())


def pipeline() -> Project:
    """A database, two jobs one after the other, and one aside."""
    return project(
        {
            "report": {"depends_on": {"load": "completed_successfully"}},
            "load": {"depends_on": {"db": "healthy", "make": "completed_successfully"}},
            "make": {},
            "db": {"image": "postgres:17"},
            "aside": {},
        }
    )


def test_a_plan_orders_and_gives_each_step_a_cause() -> None:
    """What is waited for comes first, each step says who waits for it, and the server is stopped in the end."""
    assert make_plan(pipeline(), ["report"]).as_text() == (
        "run make    load waits for it to complete\n"
        "start db    load waits for it to be healthy\n"
        "run load    report waits for it to complete\n"
        "run report  you asked for it\n"
        "stop db     no job needs it any more"
    )


def test_a_bare_plan_runs_every_job() -> None:
    """Without targets and without x-gigogne.run, all jobs are the targets; the server comes along."""
    assert set(make_plan(pipeline()).targets) == {"report", "load", "make", "aside"}


def test_x_gigogne_names_the_servers_that_are_kept_up() -> None:
    """`x-gigogne.up` decides what a bare `up` keeps up; without it, that is every server."""
    services = {name: {"ports": [{"target": port}]} for name, port in (("web", 80), ("db", 5432))}
    assert default_servers(project(services)) == ("web", "db")
    assert default_servers(project(services, **{"x-gigogne": {"up": ["db"]}})) == ("db",)
    with pytest.raises(ComposeError, match=r"x-gigogne\.up is not a list of services"):
        default_servers(project(services, **{"x-gigogne": {"up": "db"}}))


def test_the_servers_that_jobs_need() -> None:
    """With targets, those servers are kept up which they wait for, themselves or through others."""
    assert default_servers(pipeline(), ["report"]) == ("db",)
    with pytest.raises(ComposeError, match="aside needs no servers"):
        default_servers(pipeline(), ["aside"])


def test_x_gigogne_names_the_default_targets() -> None:
    """`x-gigogne.run` decides what a bare run does."""
    assert default_targets(project({"a": {}, "b": {}}, **{"x-gigogne": {"run": ["b"]}})) == ("b",)


@pytest.mark.parametrize("wrong", ["b", [1], {"a": 1}])
def test_a_malformed_default_is_refused(wrong: Any) -> None:
    """`x-gigogne.run` that is no list of names is an error that shows how to write it."""
    with pytest.raises(ComposeError, match=r"x-gigogne\.run is not a list") as caught:
        make_plan(project({"a": {}}, **{"x-gigogne": {"run": wrong}}))
    assert "run: [" in caught.value.hint


def test_an_unknown_target_suggests_the_near_one() -> None:
    """A typo in a service's name is met with the name that was meant."""
    with pytest.raises(ComposeError, match="no service named raport") as caught:
        make_plan(pipeline(), ["raport"])
    assert caught.value.hint == "did you mean report?"


def test_a_server_is_no_target_of_a_run() -> None:
    """`run` on a server says what to type; the plan of `up` takes it."""
    with pytest.raises(ComposeError, match="db is a server") as caught:
        make_plan(pipeline(), ["db"])
    assert "gigogne up db" in caught.value.hint
    assert make_plan(pipeline(), ["db"], stop=False).as_text() == "start db  you asked for it"


def test_a_circle_is_walked() -> None:
    """A cycle of depends_on names each service on the way."""
    with pytest.raises(ComposeError, match=r"circle: (a → b → a|b → a → b)"):
        make_plan(project({"a": {"depends_on": {"b": "started"}}, "b": {"depends_on": {"a": "started"}}}), ["a"])


@pytest.mark.parametrize(
    ("service", "kind"),
    [
        ({}, "job"),
        ({"ports": [{"target": 80}]}, "server"),
        ({"expose": ["80"]}, "server"),
        ({"healthcheck": {"test": ["CMD", "true"]}}, "server"),
        ({"healthcheck": {"disable": True}}, "job"),
        ({"restart": "always"}, "server"),
        ({"restart": "unless-stopped"}, "server"),
        ({"restart": "no"}, "job"),
        ({"restart": "on-failure:3"}, "job"),
        ({"command": ["tail", "-f", "/dev/null"]}, "server"),
        ({"command": ["sh", "-c", "sleep infinity"]}, "server"),
        ({"command": ["sleep", "5"]}, "job"),
        ({"labels": {"gigogne.kind": "job"}, "ports": [{"target": 80}]}, "job"),
        ({"labels": {"gigogne.kind": "server"}}, "server"),
    ],
)
def test_jobs_and_servers_are_told_apart(service: dict[str, Any], kind: str) -> None:
    """Section 1 of the design, line by line."""
    assert kinds(project({"s": service}))["s"] == kind


def test_who_waits_decides_first() -> None:
    """A service with ports that another waits for to complete is a job; one awaited as healthy is a server."""
    made = project(
        {
            "a": {"depends_on": {"b": "completed_successfully", "c": "healthy", "d": "started"}},
            "b": {"ports": [{"target": 80}]},
            "c": {},
            "d": {},
        }
    )
    assert {name: str(kind) for name, kind in kinds(made).items()} == {
        "a": "job",
        "b": "job",
        "c": "server",
        "d": "job",
    }


def test_a_wrong_label_is_refused() -> None:
    """`gigogne.kind` that is neither job nor server is named with its key."""
    with pytest.raises(ComposeError, match=r"services\.s\.labels\.gigogne\.kind"):
        kinds(project({"s": {"labels": {"gigogne.kind": "daemon"}}}))


def test_an_optional_dependency_may_be_absent() -> None:
    """`required: false` on a service whose profile is off does not stand in the way."""
    absent = {"condition": "service_started", "required": False}
    assert make_plan(project({"a": {"depends_on": {"b": absent}}}), ["a"]).services == ("a",)


def test_mermaid_draws_jobs_servers_and_conditions() -> None:
    """The chart has boxes for jobs, a cylinder for the server and the condition on each arrow."""
    assert make_plan(pipeline(), ["load"]).as_mermaid() == (
        "flowchart LR\n"
        '    s_make["make"]\n'
        '    s_db[("db")]\n'
        '    s_load["load"]\n'
        "    s_db -->|healthy| s_load\n"
        "    s_make -->|completed| s_load"
    )
