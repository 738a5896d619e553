"""The dashboards: made by Grafana's own model, readable, and of data sources that Grafana is given."""

from __future__ import annotations

import configparser
import itertools
import json
import re
import runpy
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from tests.conftest import REPOSITORY
from tests.stack.monitoring.conftest import MONITORING

GRAFANA = MONITORING / "grafana"
Json = dict[str, Any]
DASHBOARDS: dict[str, Json] = {
    path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(GRAFANA.glob("dashboards/*.json"))
}
# What Grafana puts for its own variables, an hour shown at 15 seconds a point; Prometheus is asked every 15 seconds.
OWN = {"__rate_interval": "60s", "__interval": "15s", "__range": "3600s"}


def panels(dashboard: Json) -> list[Json]:
    """The panels, without the rows that they stand in."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def targets(panel: Json) -> list[Json]:
    """The queries of a panel."""
    found: list[Json] = panel.get("targets", [])
    return found


def marked(dashboard: Json) -> Iterator[str]:
    """The queries of what is marked in every graph."""
    yield from (each["expr"] for each in dashboard["annotations"]["list"])


def variables(dashboard: Json) -> dict[str, str]:
    """The dashboard's variables, at their defaults: "All" is what it says that it is."""
    found = dashboard["templating"].get("list", [])
    values = {each["name"]: (each["current"]["value"], each) for each in found}
    return {name: each["allValue"] if value == "$__all" else value for name, (value, each) in values.items()}


def substituted(query: str, values: Mapping[str, str]) -> str:
    """A query as Grafana asks it; no variable is left."""
    for name, value in {**OWN, **values}.items():
        query = re.sub(rf"\$(?:{name}\b|{{{name}}})", lambda match, value=value: value, query)  # type: ignore[misc]
    assert "$" not in query
    return query


def test_the_files_are_what_the_script_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """By Grafana's own model of a dashboard: whoever edits a file by hand, or forgets to write it anew, hears of it."""
    # As Python does for a script.
    monkeypatch.syspath_prepend(GRAFANA)
    script = runpy.run_path(str(GRAFANA / "make_dashboards.py"))
    made = {name: script["written"](dashboard) for name, dashboard in script["dashboards"]().items()}
    assert made == {path.name: path.read_text(encoding="utf-8") for path in GRAFANA.glob("dashboards/*.json")}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_can_be_read(name: str) -> None:
    """It is known by its address; each panel has a title, a sentence, a unit, and a place that no other one has."""
    dashboard = DASHBOARDS[name]
    assert dashboard["uid"] in ("fraud", f"catalogue-{name.removesuffix('.json')}") and dashboard["title"]
    assert {link["type"] for link in dashboard["links"]} == {"dashboards", "link"}
    for panel in panels(dashboard):
        assert panel["title"] and panel["description"], panel
        if targets(panel):
            own = panel["options"]["yAxis"] if panel["type"] == "heatmap" else panel["fieldConfig"]["defaults"]
            assert own["unit"], panel["title"]
    for one, other in itertools.combinations([panel["gridPos"] for panel in dashboard["panels"]], 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"], (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in dashboard["panels"])


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_asks_sources_that_are_there(name: str) -> None:
    """By the uid under which Grafana is given them; and the list of alerts by the name."""
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text(encoding="utf-8"))
    there = {source["uid"]: source for source in sources["datasources"]}
    everything = [DASHBOARDS[name], *panels(DASHBOARDS[name])]
    asked = [each["datasource"] for panel in everything for each in (panel, *targets(panel)) if "datasource" in each]
    assert asked and all(there[each["uid"]]["type"] == each["type"] for each in asked)
    listed = [panel["options"]["datasource"] for panel in panels(DASHBOARDS[name]) if panel["type"] == "alertlist"]
    assert listed and set(listed) <= {source["name"] for source in sources["datasources"]}


def test_grafana_finds_what_it_is_given() -> None:
    """The sources are the stack's services and ports; the files lie where Compose puts them in the container."""
    services = yaml.safe_load((REPOSITORY / "docker-compose-monitoring.yml").read_text(encoding="utf-8"))["services"]
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text(encoding="utf-8"))
    for source in sources["datasources"]:
        service, port = re.fullmatch(r"http://([a-z]+):(\d+)", source["url"]).groups()  # type: ignore[union-attr]
        assert services[service]["ports"][0].endswith(f":{port}")
    (mount,) = [each for each in services["grafana"]["volumes"] if isinstance(each, dict)]
    assert (REPOSITORY / mount["source"]).resolve() == GRAFANA and mount["read_only"]
    settings = configparser.ConfigParser()
    settings.read(GRAFANA / "grafana.ini", encoding="utf-8")
    providers = yaml.safe_load((GRAFANA / "provisioning/dashboards/files.yml").read_text(encoding="utf-8"))["providers"]
    home = settings["dashboards"]["default_home_dashboard_path"]
    for inside in (home, *(provider["options"]["path"] for provider in providers)):
        assert (GRAFANA / inside.removeprefix(f"{mount['target']}/")).exists(), inside
