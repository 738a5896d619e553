"""Write dashboards/*.json, which Grafana is provisioned with, by Grafana's own model of them.

    PYTHONPATH=src python docker/monitoring/grafana/make_dashboards.py

It wants `pip install -e '.[test]'`. A test fails when the files are not what this writes.
"""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model
from panels import SOURCE, Panels, alerts, bars, graph, number, page, per_second, quantile, spread, stacked, worded

FOLDER = Path(__file__).parent / "dashboards"
# What people ask for, in the handlers that are chosen at the top: neither scrapes nor health checks.
ASKED = 'job="api", handler!~"/metrics|/health/.*", handler=~"$handler"'
FIRING = 'count(ALERTS{alertstate="firing"}) or vector(0)'
DAY = 86400

# What follows is the dashboards' contents, a row a function: a table, more or less, which the formatter would unfold.
# fmt: off


def api_now() -> Panels:
    """Is it up, is it right, is it fast?"""
    failed = 'max(job:http_requests_failed:ratio_rate5m{job="api"}) or vector(0)'
    slow = 'max(job_handler:http_request_duration_seconds:p95_5m{handler="/predict"})'
    return [
        worded(number("API", 'min(up{job="api"})', "none", "Whether Prometheus gets its metrics; TargetDown."),
               {"1": ("up", "green"), "0": ("down", "red")}),
        number("Requests", 'sum(job:http_requests:rate5m{job="api"})', "reqps", "A second, of the last 5 minutes."),
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


def fraud_now() -> Panels:
    """Is the scorer up, is it right, is it fast, and does its model still fit?"""
    slow = 'max(job_handler:http_request_duration_seconds:p95_5m{job="scorer", handler="/transactions"})'
    drifted = "max(job_part_version:fraud_drift_in_service:bool)"
    return [
        worded(number("Scorer", 'max(up{job="scorer"})', "none", "Whether Prometheus gets its metrics; TargetDown."),
               {"1": ("up", "green"), "0": ("away", "text")}),
        worded(number("Version", "max(scorer_model_version)", "none",
                      "Of fraud-detector, in service; FraudModelAbsent."), {"0": ("no model", "red")}),
        number("Slowest of 20", slow, "s", "p95 of /transactions, of the last 5 minutes; ScorerSlow.", limit=0.1),
        number("Alarms", "max(job:scorer_alarms:ratio_increase1h)", "percentunit",
               "The share of the last hour's transactions that were called frauds."),
        worded(number("Drift", drifted, "none", "By today's verdict on this version, of whichever part."),
               {"0": ("as in the training", "green"), "1": ("drifted", "orange")}),
        number("Alerts", FIRING, "none", "That fire now; NotificationsFail: nobody hears of them.", limit=1),
    ]


def scoring() -> Panels:
    """Traffic, errors, latency; and what goes to PostgreSQL."""
    asked = 'job="scorer", handler!~"/metrics|/health/.*"'
    rate, failing = (per_second("http_requests_total", asked + more) for more in ("", ', status=~"5.."'))
    duration = f"sum by (le) ({per_second('http_request_duration_seconds_bucket', asked)})"
    history = f"sum by (le) ({per_second('scorer_history_seconds_bucket')})"
    return [
        stacked("By status", "reqps", "Requests a second.", "status", rate),
        graph("Failed", "percentunit", "The share with a 5xx; ScorerErrors.",
              {"failed": f"(sum({failing}) or vector(0)) / sum({rate})"}, limit=0.01),
        stacked("Refused", "reqps", "Requests a second, by reason.", "reason", per_second("scorer_refused_total")),
        graph("Latency", "s", "50, 95 and 99 of 100 requests are faster; ScorerSlow.",
              {f"p{each}": quantile(each, duration) for each in (50, 95, 99)}, limit=0.1),
        graph("A card's past", "s", "How long PostgreSQL takes to give it.",
              {f"p{each}": quantile(each, history) for each in (50, 99)}),
        graph("Waiting", "short", "Scored, kept, and not in PostgreSQL yet; ScorerSegmentsWaiting.",
              {"transactions": "sum(scorer_segment_waiting)"}),
    ]


def scored() -> Panels:
    """What it says of transactions, and what people say days later."""
    scores = f"sum by (le) ({per_second('scorer_score_bucket')})"
    return [
        stacked("Transactions", "cps", "Scored a second, by whether they are called a fraud.", "is_fraud",
                per_second("scorer_transactions_total")),
        spread("Scores", "percentunit", "How likely a fraud transactions are.", scores),
        stacked("Confirmations", "cps", "A second, by what became of them.", "outcome",
                per_second("scorer_confirmations_total")),
    ]


def fraud_drift() -> Panels:
    """The verdicts on drift, and what became of them."""
    parts = {"Features": "data", "Scores moved": "score", "Alarms, times as many": "alarms"}
    told = {"data": "FraudDataDrift", "score": "FraudScoreDrift", "alarms": "FraudAlarmDrift"}
    kinds = {"score": "score", "drift above": "threshold"}
    return [
        *(graph(title, "none", f"Of the last week's cards against the model's reference; {told[part]}.",
                {name: f'max(fraud_drift_{kind}{{part="{part}"}})' for name, kind in kinds.items()})
          for title, part in parts.items()),
        graph("Age of the verdict", "s", "And of the last look, with or without one; FraudDriftJobNotRun, SourceDown.",
              {"verdict": "time() - max(fraud_drift_last_run_timestamp_seconds > 0)",
               "look": "time() - max(fraud_drift_last_look_timestamp_seconds > 0)"}, limit=DAY / 8),
        graph("Age of the model", "s", "Since it was registered; FraudModelStale, FraudModelLoadFails.",
              {"age": "time() - max(scorer_model_created_timestamp_seconds > 0)",
               "MLflow silent for": "time() - max(scorer_model_last_check_timestamp_seconds > 0)"}, limit=30 * DAY),
        alerts(),
        bars("Retrainings", "What became of the alerts that asked for one, in the time shown; FraudRetrainingFails, "
             "FraudRegistryNotAnswering.", "outcome",
             "sum by (outcome) (increase(fraud_retrainings_total[$__range]))").span(24).height(6),
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
    fraud = {"Now": fraud_now(), "Scoring": scoring(), "What is scored": scored(), "Drift": fraud_drift()}
    catalogue = "api_model_version"
    return {
        "api.json": page(
            "catalogue-api", "Catalogue API", "What it is asked, and how it answers.", api, catalogue
        ).with_variable(handler),
        "fraud.json": page(
            "fraud", "Fraud", "What is scored, and does the model still fit?", fraud, "scorer_model_version"
        ),
        "model.json": page(
            "catalogue-model", "Model and drift", "Which model, and does it still fit?", of_model, catalogue
        ),
    }


def written(made: dashboard.Dashboard) -> str:
    """A dashboard as its file has it."""
    return json.dumps(made.build(), cls=JSONEncoder, indent=2) + "\n"


if __name__ == "__main__":
    for name, each in dashboards().items():
        (FOLDER / name).write_text(written(each), encoding="utf-8")
