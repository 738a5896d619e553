"""Draws the dashboards of docker/monitoring/grafana: what their queries find in a Prometheus, and not Grafana itself.

    python docs/images/monitoring/take.py http://127.0.0.1:9090 [MINUTES]

Start Prometheus as docs/tutorials/serving.md does, go through it, and draw. It needs matplotlib. Titles, units, places
and queries come from the dashboards' files; each picture is one dashboard, over the last MINUTES (15).
"""

from __future__ import annotations

import json
import re
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, DateFormatter

HERE = Path(__file__).parent
DASHBOARDS = HERE.parents[2] / "docker" / "monitoring" / "grafana" / "dashboards"
STEP = 15  # seconds, as Prometheus looks
COLUMNS, ROW, WIDTH = 24, 0.32, 14.0  # of Grafana's grid; a row and the whole, in inches
SUFFIXES = {"reqps": " req/s", "cps": " /s", "wps": " /s", "s": " s"}
COLOURS = {"green": "#2e7d32", "red": "#c62828", "orange": "#e07b00", "blue": "#2f6fb7", "text": "#222222"}

Series = tuple[str, tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Range:
    """A time, and the Prometheus that is asked about it."""

    address: str
    start: float
    end: float

    def series(self, target: dict[str, Any]) -> list[Series]:
        """What a panel's query found: names as its legend has them, times, values."""
        query, when = self._filled(target["expr"]), {"start": self.start, "end": self.end, "step": STEP}
        if target.get("instant"):
            when = {"time": self.end}
        kind = "query" if target.get("instant") else "query_range"
        found = fetch(f"{self.address}/api/v1/{kind}?{urllib.parse.urlencode({'query': query, **when})}")["result"]
        return [
            (
                legend(target.get("legendFormat", ""), each["metric"]),
                *zip(*((float(at), float(value)) for at, value in each.get("values") or [each["value"]]), strict=True),
            )
            for each in found
        ]

    def firing(self) -> list[str]:
        """The alerts that fired in this time."""
        words = {"query": 'ALERTS{alertstate="firing"}', "start": self.start, "end": self.end, "step": STEP}
        found = fetch(f"{self.address}/api/v1/query_range?{urllib.parse.urlencode(words)}")["result"]
        told = (
            f"{datetime.fromtimestamp(each['values'][0][0]):%H:%M}  {each['metric']['alertname']}" for each in found
        )
        return sorted(set(told))

    def _filled(self, expression: str) -> str:
        """A query with Grafana's variables as they are when the dashboard is opened."""
        whole = f"{int(self.end - self.start)}s"
        known = {"$__rate_interval": f"{4 * STEP}s", "$__range": whole, "$handler": ".*"}
        for name, value in known.items():
            expression = expression.replace(name, value)
        return expression


def main() -> None:
    """Draw each dashboard."""
    minutes = float(sys.argv[2]) if len(sys.argv) > 2 else 15.0
    now = time.time()
    over = Range(sys.argv[1].rstrip("/"), now - minutes * 60, now)
    for file in sorted(DASHBOARDS.glob("*.json")):
        draw(json.loads(file.read_text(encoding="utf-8")), over, HERE / f"{file.stem}.png")


def fetch(url: str) -> Any:
    """The data of an answer of Prometheus."""
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the address is typed by hand
        return json.load(answer)["data"]


def legend(pattern: str, labels: dict[str, str]) -> str:
    """The name of a series: `{{label}}` is the label's value."""
    return re.sub(r"\{\{(\w+)\}\}", lambda slot: labels.get(slot[1], ""), pattern)


def draw(dashboard: dict[str, Any], over: Range, file: Path) -> None:
    """One picture: its panels, where the dashboard has them."""
    panels = dashboard["panels"]
    rows = max(each["gridPos"]["y"] + each["gridPos"]["h"] for each in panels) + 2
    figure = plt.figure(figsize=(WIDTH, rows * ROW), dpi=80, facecolor="#f4f5f5")
    title = f"{dashboard['title']}: its queries, asked of Prometheus and drawn by matplotlib"
    figure.text(0.5 / COLUMNS, 1 - 1 / rows, title, size=13, weight="bold", va="center")
    for panel in panels:
        place = panel["gridPos"]
        left, top = place["x"] / COLUMNS, 1 - (place["y"] + 2) / rows
        if panel["type"] == "row":
            figure.text(left + 0.1 / COLUMNS, top - 0.5 / rows, panel["title"], size=11, weight="bold", va="center")
            continue
        inner = (left + 1.1 / COLUMNS, top - (place["h"] - 1.1) / rows)
        size = ((place["w"] - 1.5) / COLUMNS, (place["h"] - 2.4) / rows)
        axes = figure.add_axes((*inner, *size))
        axes.set_title(panel["title"], loc="left", size=9)
        axes.tick_params(labelsize=7)
        SHAPES[panel["type"]](axes, panel, over)
    figure.savefig(file)
    plt.close(figure)


def draw_lines(axes: Axes, panel: dict[str, Any], over: Range) -> None:
    """Values over time."""
    found = [series for target in panel["targets"] for series in over.series(target)]
    defaults = panel["fieldConfig"]["defaults"]
    if defaults.get("custom", {}).get("stacking", {}).get("mode") == "normal" and found:
        times = sorted({at for _, each, _ in found for at in each})
        known = [dict(zip(each, values, strict=True)) for _, each, values in found]
        axes.stackplot(
            [clock(at) for at in times],
            [[each.get(at, 0.0) for at in times] for each in known],
            labels=[name for name, _, _ in found],
            alpha=0.6,
        )
    else:
        for name, times, values in found:
            axes.plot([clock(at) for at in times], values, label=name, linewidth=1.4)
    axes.set_xlim(clock(over.start), clock(over.end))
    axes.set_ylim(bottom=defaults.get("min"), top=defaults.get("max"))
    axes.xaxis.set_major_locator(AutoDateLocator(minticks=2, maxticks=5))
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M"))
    axes.yaxis.set_major_formatter(lambda value, _: told(value, defaults))
    axes.grid(alpha=0.3)
    if found:
        axes.legend(fontsize=6, loc="upper left", ncols=2, framealpha=0.6)


def draw_number(axes: Axes, panel: dict[str, Any], over: Range) -> None:
    """The last value, as large as can be."""
    defaults = panel["fieldConfig"]["defaults"]
    found = [values[-1] for target in panel["targets"] for _, _, values in over.series(target)]
    words, colour = defaults.get("noValue") or "", "text"
    if found:
        words, colour = told(found[-1], defaults), shade(found[-1], defaults)
        for mapping in defaults.get("mappings") or []:
            if known := mapping["options"].get(f"{found[-1]:g}"):
                words, colour = known["text"], known["color"]
    axes.axis("off")
    size = 20 if len(words) < 10 else 11
    axes.text(0.5, 0.4, words, size=size, ha="center", va="center", color=COLOURS[colour], transform=axes.transAxes)


def draw_bars(axes: Axes, panel: dict[str, Any], over: Range) -> None:
    """The last value of each series."""
    found = [(name, values[-1]) for target in panel["targets"] for name, _, values in over.series(target)]
    found.sort(key=lambda each: each[1])
    axes.barh([name for name, _ in found], [value for _, value in found], color=COLOURS["blue"])
    axes.xaxis.set_major_formatter(lambda value, _: told(value, panel["fieldConfig"]["defaults"]))
    axes.grid(alpha=0.3, axis="x")


def draw_heat(axes: Axes, panel: dict[str, Any], over: Range) -> None:
    """How many fell between two bounds of a histogram, over time."""
    found = [series for target in panel["targets"] for series in over.series(target)]
    bounds = sorted({float(name) for name, _, _ in found})
    times = sorted({at for _, each, _ in found for at in each})
    known = {(float(name), at): value for name, each, values in found for at, value in zip(each, values, strict=True)}
    below = [[known.get((bound, at), 0.0) for at in times] for bound in bounds]
    within = [[b - a for a, b in zip(lower, upper, strict=True)] for lower, upper in pairwise(below)]
    axes.pcolormesh([clock(at) for at in times], range(len(within)), within, cmap="Blues", shading="nearest")
    axes.set_yticks(range(len(within)), [f"to {bound:g}" for bound in bounds[1:]], size=5)
    axes.xaxis.set_major_locator(AutoDateLocator(minticks=2, maxticks=5))
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M"))


def draw_alerts(axes: Axes, panel: dict[str, Any], over: Range) -> None:
    """The alerts that fired, and since when."""
    axes.axis("off")
    axes.text(0.02, 0.95, "\n".join(over.firing()) or "none", size=9, va="top", transform=axes.transAxes)


SHAPES: dict[str, Callable[[Axes, dict[str, Any], Range], None]] = {
    "timeseries": draw_lines,
    "stat": draw_number,
    "bargauge": draw_bars,
    "heatmap": draw_heat,
    "alertlist": draw_alerts,
}


def clock(at: float) -> datetime:
    """A time of Prometheus's on this machine's clock."""
    return datetime.fromtimestamp(at)


def told(value: float, defaults: dict[str, Any]) -> str:
    """A value in a panel's unit."""
    unit = defaults.get("unit")
    if unit == "percentunit":
        return f"{value * 100:.3g}%"
    if unit == "bytes":
        return f"{value / 2**20:.0f} MiB"
    if unit == "s" and 0 < value < 1:
        return f"{value * 1000:.3g} ms"
    if unit == "s" and value >= 120:
        return f"{value / 60:.0f} min"
    return f"{value:.4g}{SUFFIXES.get(str(unit), '')}"


def shade(value: float, defaults: dict[str, Any]) -> str:
    """The colour of the highest threshold that a value reaches."""
    steps = [each for each in defaults["thresholds"]["steps"] if each["value"] is None or value >= each["value"]]
    return str(steps[-1]["color"])


if __name__ == "__main__":
    main()
