"""Write dashboards/*.json, which Grafana is provisioned with, by Grafana's own model of them.

    PYTHONPATH=src python docker/monitoring/grafana/make_dashboards.py

It wants `pip install -e '.[test]'`. A test fails when the files are not what this writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from grafana_foundation_sdk.builders import bargauge, common, dashboard, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as styles
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from catalog.names import CATEGORIES

FOLDER = Path(__file__).parent / "dashboards"
SOURCE = model.DataSourceRef(type_val="prometheus", uid="prometheus")
Panels = Sequence[Builder[model.Panel]]
# What people ask for, in the handlers that are chosen at the top: neither scrapes nor health checks.
ASKED = 'job="api", handler!~"/metrics|/health/.*", handler=~"$handler"'
FIRING = 'count(ALERTS{alertstate="firing"}) or vector(0)'
DAY = 86400


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


def page(uid: str, title: str, says: str, rows: Mapping[str, Panels]) -> dashboard.Dashboard:
    """A dashboard of rows, with links to the other one and to the alerts."""
    others = dashboard.DashboardLink("Catalogue").type(model.DashboardLinkType.DASHBOARDS).tags(["catalogue"])
    rules = dashboard.DashboardLink("Alerts").type(model.DashboardLinkType.LINK).url("/alerting/list").icon("bolt")
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(says)
        .tags(["catalogue"])
        .readonly()
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .links([others.keep_time(True), rules])
        .annotation(marks("Alerts", 'ALERTS{alertstate="firing"}', "red"))
        .annotation(marks("Another model", "changes(api_model_version[$__rate_interval]) > 0", "blue"))
    )
    for name, panels in rows.items():
        made.with_row(dashboard.Row(name))
        for panel in panels:
            made.with_panel(panel)
    return made


def marks(name: str, expression: str, color: str) -> dashboard.AnnotationQuery:
    """Moments that are marked in every graph."""
    return dashboard.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(color).expr(expression)


# What follows is the dashboards' contents, a row a function: a table, more or less, which the formatter would unfold.
# fmt: off


def api_now() -> Panels:
    """Is it up, is it right, is it fast?"""
    failed = "max(job:http_requests_failed:ratio_rate5m) or vector(0)"
    slow = 'max(job_handler:http_request_duration_seconds:p95_5m{handler="/predict"})'
    return [
        worded(number("API", 'min(up{job="api"})', "none", "Whether Prometheus gets its metrics; TargetDown."),
               {"1": ("up", "green"), "0": ("down", "red")}),
        number("Requests", "sum(job:http_requests:rate5m)", "reqps", "A second, of the last 5 minutes."),
        number("Failed", failed, "percentunit", "With a 5xx, of the last 5 minutes; ApiErrors.", limit=0.05),
        number("Slowest of 20", slow, "s", "p95 of /predict, of the last 5 minutes; ApiSlow.", limit=0.1),
        number("Waiting for MongoDB", "sum(api_outbox_waiting)", "short", "In the outbox; OutboxGrowing.", limit=1000),
        number("Alerts", FIRING, "none", "That fire now; NotificationsFail: nobody hears of them.", limit=1),
    ]


def requests() -> Panels:
    """Traffic, errors, latency, refusals."""
    rate = per_second("http_requests_total", ASKED)
    failing = per_second("http_requests_total", f'{ASKED}, status=~"5.."')
    duration = per_second("http_request_duration_seconds_bucket", ASKED)
    percentiles = {f"p{each}": quantile(each, f"sum by (le) ({duration})") for each in (50, 95, 99)}
    return [
        stacked("By handler", "reqps", "Requests a second.", "handler", rate),
        stacked("By status", "reqps", "Requests a second.", "status", rate),
        graph("Failed", "percentunit", "The share with a 5xx; ApiErrors.",
              {"failed": f"(sum({failing}) or vector(0)) / sum({rate})"}, limit=0.05),
        graph("Latency", "s", "50, 95 and 99 of 100 requests are faster.", percentiles),
        graph("Latency by handler", "s", "95 of 100 requests are faster; ApiSlow is about /predict.",
              {"{{handler}}": quantile(95, f"sum by (le, handler) ({duration})")}, limit=0.1),
        stacked("Refused", "reqps", "Requests a second, by reason.", "reason", per_second("api_refused_total")),
    ]


def predictions() -> Panels:
    """What it says, by which model, and how sure it is."""
    buckets = f"sum by (le) ({per_second('api_prediction_confidence_bucket')})"
    spans = {f"p{each}": quantile(each, buckets) for each in (10, 50, 90)}
    return [
        bars("By category", "The likeliest 15, in the time shown.", "code",
             "topk(15, sum by (code) (increase(api_predictions_total[$__range])))").height(12).span(12),
        stacked("By version", "cps", "Products a second, by the model's version.", "model_version",
                per_second("api_predictions_total")).height(12).span(12),
        graph("Confidence", "percentunit", "10, 50 and 90 of 100 predictions are less sure.", spans).max(1).span(12),
        spread("All confidences", "percentunit", "The probability of the likeliest category.", buckets).span(12),
    ]


def outbox() -> Panels:
    """What goes to MongoDB; and the process."""
    return [
        graph("Outbox", "short", "What waits for MongoDB, and what was lost; OutboxGrowing, OutboxLost.",
              {"waiting": "sum(api_outbox_waiting)", "lost": "sum(api_outbox_lost_total)"}, limit=1000),
        stacked("Stored", "wps", "Documents a second; OutboxStuck.", "collection",
                per_second("api_outbox_stored_total")),
        alerts(),
        graph("Processor", "percentunit", "Of one core.",
              {"{{job}}": per_second("process_cpu_seconds_total", 'job=~"api|monitor"')}),
        graph("Memory", "bytes", "Resident.", {"{{job}}": 'process_resident_memory_bytes{job=~"api|monitor"}'}),
    ]


def model_now() -> Panels:
    """Which model, how old, does it fit?"""
    verdict = {"0": ("as in the training", "green"), "1": ("drifted", "orange")}
    drifted = 'max(job_part_version:catalog_drift_in_service:bool{part="%s"})'
    return [
        worded(number("Version", "max(api_model_version)", "none", "Of catalog-classifier, in service; ModelAbsent."),
               {"0": ("no model", "red")}),
        number("Age", "time() - max(api_model_created_timestamp_seconds > 0)", "s",
               "Since it was registered; ModelStale.", limit=30 * DAY),
        worded(number("Texts", drifted % "text", "none", "By today's verdict on this version; TextDrift."), verdict),
        worded(number("Categories", drifted % "prediction", "none",
                      "By today's verdict on this version; PredictionDrift."), verdict),
        number("Disagreement", "max(job:api_feedback_disagrees:ratio_increase6h)", "percentunit",
               "The share of feedback that names another category, in 6 hours; FeedbackDisagrees.", limit=0.4),
        number("Alerts", FIRING, "none", "That fire now; NotificationsFail: nobody hears of them.", limit=1),
    ]


def drift() -> Panels:
    """The verdicts on drift."""
    score = {"score": 'max(catalog_drift_score{part="%s"})', "drift above": 'max(catalog_drift_threshold{part="%s"})'}
    text, shares = ({name: each % part for name, each in score.items()} for part in ("text", "prediction"))
    return [
        graph("Texts", "none", "How well they can be told from the training's: 0.5 not at all, 1 always.", text).max(1),
        graph("Categories", "percentunit", "The share that would have to change its category.", shares).max(1),
        graph("Compared", "short", "Rows of the last verdict.", {"{{sample}}": "max by (sample) (catalog_drift_rows)"}),
        graph("Age of the verdict", "s", "And of the last look, with or without one; DriftJobNotRun.",
              {"verdict": "time() - max(catalog_drift_last_run_timestamp_seconds > 0)",
               "look": "time() - max(catalog_drift_last_look_timestamp_seconds > 0)"}, limit=DAY / 8),
        graph("Versions", "none", "A verdict about another version than that in service asks for no retraining.",
              {"in service": "max(api_model_version)", "of the verdict": "max(catalog_drift_model_version)"}),
        alerts(),
    ]


def feedback() -> Panels:
    """What people say of the model; and the registry that it comes from."""
    return [
        stacked("Feedback", "cps", "Whether people agree; unknown: it is about no prediction that is known.", "agrees",
                per_second("api_feedback_total")).span(6),
        graph("Disagreement", "percentunit", "In 6 hours; FeedbackDisagrees.",
              {"disagree": "max(job:api_feedback_disagrees:ratio_increase6h)"}, limit=0.4).span(6),
        graph("MLflow", "s", "Since it last answered the API; RegistryNotAnswering.",
              {"silent for": "time() - max(api_model_last_check_timestamp_seconds > 0)"}, limit=120).span(6),
        bars("Models loaded", "In the time shown; ModelLoadFails.", "outcome",
             "sum by (outcome) (increase(api_model_loads_total[$__range]))").span(6),
    ]


def trainings() -> Panels:
    """The queue, and what became of the retrainings."""
    return [
        bars("Retrainings", "What became of the alerts that asked for one, in the time shown; RetrainingFails.",
             "outcome", "sum by (outcome) (increase(catalog_retrainings_total[$__range]))").span(12),
        stacked("Queue", "short", "Trainings and scorings that wait and run; QueueStalled, SourceDown.", "status",
                'catalog_queue_requests{status=~"todo|doing|aborting"}').span(12),
        graph("Workers", "short", "That gave a sign of life in the last minute; WorkerAbsent.",
              {"alive": "max(catalog_queue_workers)"}).span(4),
        graph("Oldest request", "s", "For how long it waits; QueueOld.",
              {"waits": "max(catalog_queue_oldest_seconds)"}, limit=1800).span(4),
        graph("Ended", "short", "Trainings and scorings, by how they ended.",
              {"{{status}}": 'max by (status) (catalog_queue_requests{status!~"todo|doing|aborting"})'}).span(4),
    ]


# fmt: on


def dashboards() -> dict[str, dashboard.Dashboard]:
    """All of them, by the names of their files."""
    handler = (
        dashboard.QueryVariable("handler")
        .label("Handler")
        .datasource(SOURCE)
        .query('label_values(http_requests_total{job="api", handler!~"/metrics|/health/.*"}, handler)')
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(model.VariableOption(selected=True, text="All", value="$__all"))
    )
    api = {"Now": api_now(), "Requests": requests(), "Predictions": predictions(), "Outbox and process": outbox()}
    of_model = {"Now": model_now(), "Drift": drift(), "Feedback": feedback(), "Trainings": trainings()}
    return {
        "api.json": page("catalogue-api", "Catalogue API", "What it is asked, and how it answers.", api).with_variable(
            handler
        ),
        "model.json": page("catalogue-model", "Model and drift", "Which model, and does it still fit?", of_model),
    }


def written(made: dashboard.Dashboard) -> str:
    """A dashboard as its file has it."""
    return json.dumps(made.build(), cls=JSONEncoder, indent=2) + "\n"


if __name__ == "__main__":
    for name, each in dashboards().items():
        (FOLDER / name).write_text(written(each), encoding="utf-8")
