"""The panels that dashboards are made of, by Grafana's own model of them: one look for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import bargauge, common, dashboard, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as styles
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from catalog.names import CATEGORIES

__all__ = [
    "SOURCE",
    "Panels",
    "alerts",
    "bars",
    "graph",
    "number",
    "page",
    "per_second",
    "quantile",
    "spread",
    "stacked",
    "worded",
]

SOURCE = model.DataSourceRef(type_val="prometheus", uid="prometheus")
Panels = Sequence[Builder[model.Panel]]
TAG = "gigogne"


def per_second(metric: str, labels: str = "") -> str:
    """The rate of a counter, over as long as Grafana finds right for what it shows."""
    return f"rate({metric}{{{labels}}}[$__rate_interval])" if labels else f"rate({metric}[$__rate_interval])"


def quantile(percent: int, buckets: str) -> str:
    """The value that so many of 100 stay under."""
    return f"histogram_quantile({percent / 100}, {buckets})"


def queries(named: Mapping[str, str], *, instant: bool = False) -> list[Builder[Dataquery]]:
    """Queries of Prometheus, by what their series are called."""
    made: list[Builder[Dataquery]] = []
    for letter, (legend, expression) in zip("ABCDEFGH", named.items(), strict=False):
        query = prometheus.Dataquery().ref_id(letter).expr(expression).legend_format(legend).datasource(SOURCE)
        made.append(query.instant() if instant else query.range())
    return made


def colored(first: str, limit: float | None = None) -> dashboard.ThresholdsConfig:
    """One colour, and red from a limit on."""
    steps = [model.Threshold(value=None, color=first)]
    if limit is not None:
        steps.append(model.Threshold(value=limit, color="red"))
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def number(title: str, expression: str, unit: str, says: str, *, limit: float | None = None) -> stat.Panel:
    """One number, as it is now; red from the limit on."""
    return (
        stat.Panel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .targets(queries({title: expression}, instant=True))
        .unit(unit)
        .thresholds(colored("text" if limit is None else "green", limit))
        .color_mode(styles.BigValueColorMode.VALUE)
        .graph_mode(styles.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("not known")
        .height(4)
        .span(4)
    )


def worded(panel: stat.Panel, meanings: Mapping[str, tuple[str, str]]) -> stat.Panel:
    """The panel with words and colours in the place of some values."""
    options = {value: model.ValueMappingResult(text=text, color=color) for value, (text, color) in meanings.items()}
    return panel.mappings([model.ValueMap(options=options)])


def graph(
    title: str, unit: str, says: str, named: Mapping[str, str], *, limit: float | None = None
) -> timeseries.Panel:
    """Lines over time; a limit, where an alert has one, is drawn."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .targets(queries(named))
        .unit(unit)
        .min(0)
        .fill_opacity(10)
        .show_points(styles.VisibilityMode.NEVER)
        .legend(common.VizLegendOptions().show_legend(True).placement(styles.LegendPlacement.BOTTOM).calcs([]))
        .tooltip(common.VizTooltipOptions().mode(styles.TooltipDisplayMode.MULTI).sort(styles.SortOrder.DESCENDING))
        .height(8)
        .span(8)
    )
    if limit is not None:
        panel.thresholds(colored("green", limit))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(styles.GraphThresholdsStyleMode.DASHED))
    return panel


def stacked(title: str, unit: str, says: str, label: str, expression: str) -> timeseries.Panel:
    """Areas over time, one on the other, for each value of a label."""
    panel = graph(title, unit, says, {f"{{{{{label}}}}}": f"sum by ({label}) ({expression})"})
    return panel.fill_opacity(40).stacking(common.StackingConfig().mode(styles.StackingMode.NORMAL).group("A"))


def bars(title: str, says: str, label: str, expression: str) -> bargauge.Panel:
    """Counts by a label, with the names of the categories for their codes."""
    panel = (
        bargauge.Panel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .targets(queries({f"{{{{{label}}}}}": f"sort_desc({expression})"}, instant=True))
        .unit("short")
        .decimals(0)
        .min(0)
        .thresholds(colored("blue"))
        .orientation(styles.VizOrientation.HORIZONTAL)
        .display_mode(styles.BarGaugeDisplayMode.BASIC)
        .height(8)
        .span(8)
    )
    for code, name in CATEGORIES.items() if label == "code" else ():
        panel.override_by_name(str(code), [model.DynamicConfigValue(id_val="displayName", value=f"{name} ({code})")])
    return panel


def spread(title: str, unit: str, says: str, buckets: str) -> heatmap.Panel:
    """A histogram over time."""
    query = prometheus.Dataquery().ref_id("A").expr(buckets).legend_format("{{le}}").datasource(SOURCE).range()
    return (
        heatmap.Panel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .with_target(query.format(PromQueryFormat.HEATMAP))
        .calculate(False)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").steps(32))
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .height(8)
        .span(8)
    )


def alerts() -> dashboard.Panel:
    """What fires, and what is about to."""
    states = {"firing": True, "pending": True, "error": True, "normal": False, "noData": False}
    options = {"viewMode": "list", "groupMode": "default", "maxItems": 20, "sortOrder": 3, "datasource": "Prometheus"}
    return (
        dashboard.Panel()
        .type("alertlist")
        .title("Alerts")
        .description("Each has a runbook: the command to type.")
        .options({**options, "stateFilter": states})
        .height(8)
        .span(8)
    )


def page(uid: str, title: str, says: str, rows: Mapping[str, Panels], version: str) -> dashboard.Dashboard:
    """A dashboard of rows, with links to the others and to the alerts."""
    others = dashboard.DashboardLink("Dashboards").type(model.DashboardLinkType.DASHBOARDS).tags([TAG])
    rules = dashboard.DashboardLink("Alerts").type(model.DashboardLinkType.LINK).url("/alerting/list").icon("bolt")
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(says)
        .tags([TAG])
        .readonly()
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .links([others.keep_time(True), rules])
        .annotation(marks("Alerts", 'ALERTS{alertstate="firing"}', "red"))
        .annotation(marks("Another model", f"changes({version}[$__rate_interval]) > 0", "blue"))
    )
    for name, panels in rows.items():
        made.with_row(dashboard.Row(name))
        for panel in panels:
            made.with_panel(panel)
    return made


def marks(name: str, expression: str, color: str) -> dashboard.AnnotationQuery:
    """Moments that are marked in every graph."""
    return dashboard.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(color).expr(expression)
