"""Draws the plots of docs/tutorials/fraud.md: what its commands left in PostgreSQL and in MLflow.

    python docs/images/fraud/draw.py amounts:1.5@2025-03-02

Go through the tutorial, leave `gigogne up` running, and draw; the word is the tutorial's DRIFT. It needs matplotlib,
numpy, scikit-learn, psycopg and urllib3. What is drawn of transactions, scores, alarms and confirmations is in
PostgreSQL; which pattern a fraud belongs to, the truth that is not out yet and the oracle come from the simulator's
scenario, which is made anew with the same seed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import psycopg
import urllib3
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from psycopg import sql
from sklearn.metrics import precision_recall_curve

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2] / "src"))

from fraud.features import Transaction, features_of  # noqa: E402
from fraud.generator import Event, Generator  # noqa: E402
from fraud.registered import DETECTOR  # noqa: E402
from fraud.scenario.drift import Drift  # noqa: E402
from fraud.scenario.oracle import Oracle  # noqa: E402
from fraud.scenario.patterns import PATTERNS, STEALTHY  # noqa: E402
from fraud.scenario.rules import predicted  # noqa: E402
from fraud.training.dataset import Examples, split  # noqa: E402
from fraud.training.evaluation import Interval, average_precision, baseline, resampled  # noqa: E402
from registry.champion import Registry, Version  # noqa: E402

POSTGRES = os.environ.get("LOGGER_SQL_URI", "postgresql://postgres:postgres@127.0.0.1:5432/mlops")
MLFLOW = os.environ.get("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
SEED = int(os.environ.get("SEED", "42"))
TABLE, CONFIRMATIONS, MODEL = "fraud_detection_2_table", "fraud_detection_2_confirmations", "fraud-detector"
COLUMNS = (
    *("trans_num", "cc_num", "trans_date_trans_time", "merchant", "category", "amt", "lat", "long"),
    *("merch_lat", "merch_long", "city_pop", "is_fraud", "score", "model_version"),
)
TOLD = ("trans_num", "is_fraud", "confirmed_by", "confirmed_at")
BLUE, RED, GREY, GREEN, ORANGE = "#2f6fb7", "#c62828", "#9aa0a6", "#2e7d32", "#e07b00"
WEEK, MONTH = timedelta(days=7), timedelta(days=30)
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Features = dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class Row:
    """A transaction as it is in PostgreSQL, and what the simulator knows of it."""

    made: Transaction
    called: bool
    score: float | None
    version: int | None
    event: Event


@dataclass(frozen=True)
class Confirmed:
    """The truth of a transaction, when it was told and by whom."""

    made: Transaction
    fraud: bool
    by: str
    at: datetime


@dataclass(frozen=True)
class Live:
    """What the first detector was asked before anything drifted, judged by the truth.

    Attributes:
        rows: The transactions.
        examples: Their features and their truth.
        scores: Who says what of each: the detector as it answered, the others as they would have.
        alarms: Which ones each calls a fraud.
    """

    rows: list[Row]
    examples: Examples
    scores: dict[str, Floats]
    alarms: dict[str, Bools]


def main() -> None:
    """Read everything, draw everything."""
    drift = Drift.parse(sys.argv[1])
    since = datetime.combine(min(day for _, _, day in drift.shifts), time())
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10})
    with psycopg.connect(POSTGRES) as connection:
        rows, confirmed = read(connection, Generator(SEED, drift))
    newest = datetime.fromisoformat(tag(1, "newest"))
    oracle = Oracle(Generator(SEED, drift))
    knows = np.array([oracle.score(row.event.transaction) for row in rows])
    features: Features = {made.trans_num: found for made, found in features_of([row.made for row in rows])}
    truth = {each.made.trans_num: each.fraud for each in confirmed if each.at <= newest}
    live = judge(rows, truth, newest, since, knows, features)
    save("episode", episode(rows, live))
    save("delay", delay(rows, confirmed, newest))
    save("precision-recall", precision_recall(live))
    save("patterns", patterns(live))
    save("drift", drifted(rows, features, since))
    save("weeks", weekly(rows, since))


def read(connection: psycopg.Connection, generator: Generator) -> tuple[list[Row], list[Confirmed]]:
    """All transactions in the order of time, and all that is confirmed."""
    found = select(connection, TABLE, COLUMNS)
    names, events = {each[0] for each in found}, dict[str, Event]()
    # Those that are on their way are missing.
    for event in generator.events(0):
        if event.truth.trans_num in names:
            events[event.truth.trans_num] = event
        if len(events) == len(names):
            break
    rows = []
    for name, card, at, merchant, category, *numbers, inhabitants, called, score, version in found:
        amount, lat, long, merch_lat, merch_long = map(float, numbers)
        made = Transaction(name, card, at, merchant, category, amount, lat, long, merch_lat, merch_long, inhabitants)
        rows.append(Row(made, called, score, version, events[name]))
    rows.sort(key=lambda row: (row.made.at, row.made.trans_num))
    known = {row.made.trans_num: row.made for row in rows}
    told = (Confirmed(known[name], *said) for name, *said in select(connection, CONFIRMATIONS, TOLD) if name in known)
    return rows, sorted(told, key=lambda each: each.at)


def select(connection: psycopg.Connection, table: str, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """Columns of a table, all of it."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return connection.execute(sql.SQL("SELECT {} FROM {}").format(names, sql.Identifier(table))).fetchall()


def tag(version: int, name: str) -> str:
    """What a version in MLflow says of itself."""
    address = f"{MLFLOW}/api/2.0/mlflow/model-versions/get?name={MODEL}&version={version}"
    answer = urllib3.request("GET", address, timeout=30)
    assert answer.status == 200, answer.data
    tags = answer.json()["model_version"]["tags"]
    return next(str(each["value"]) for each in tags if each["key"] == name)


def judge(
    rows: Sequence[Row], truth: dict[str, bool], newest: datetime, until: datetime, knows: Floats, features: Features
) -> Live:
    """Everybody on the same live transactions; the baseline has learned from what the detector has learned from."""
    known = split([row.made for row in rows if row.made.at <= newest], truth).known
    places = [place for place, row in enumerate(rows) if row.version == 1 and row.made.at < until]
    taken = [rows[place] for place in places]
    examples = Examples(
        np.array([features[row.made.trans_num] for row in taken]),
        np.array([row.event.is_fraud for row in taken]),
        np.array([row.made.amt for row in taken]),
        np.array([row.made.cc_num for row in taken]),
    )
    scores = {
        "oracle": knows[places],
        "detector": np.array([row.score for row in taken], np.float64),
        "logistic regression": baseline(known, examples.rows),
    }
    alarms = {
        "rules": np.array([predicted(row.event.transaction, row.made.at) for row in taken]),
        "detector": np.array([row.called for row in taken]),
    }
    count = int(alarms["detector"].sum())
    for name in ("logistic regression", "oracle"):
        alarms[name] = scores[name] >= np.sort(scores[name])[-count]
    return Live(taken, examples, scores, alarms)


def save(name: str, figure: Figure) -> None:
    """Write a picture."""
    figure.savefig(HERE / f"{name}.png", dpi=110)
    plt.close(figure)


def episode(rows: Sequence[Row], live: Live) -> Figure:
    """A stolen card: where its holder buys and where the thief does, and the same over time."""
    frauds, meanwhile = most_crossed(rows, live)
    home, first, last = frauds[0].made, frauds[0].made.at, frauds[-1].made.at
    month = [row for row in rows if row.made.cc_num == home.cc_num and last - MONTH < row.made.at <= last]
    shops = [row for row in month if in_shop(row) and not row.event.is_fraud]
    figure, (chart, course) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    chart.plot(home.long, home.lat, "*", color="black", markersize=13, label="home")
    drawn: tuple[tuple[Axes, Callable[[Row], Any], Callable[[Row], Any], Sequence[Row]], ...] = (
        (chart, lambda row: row.made.merch_long, lambda row: row.made.merch_lat, shops),
        (course, lambda row: (row.made.at - first) / timedelta(hours=1), lambda row: row.made.amt, meanwhile),
    )
    for axes, x, y, own in drawn:
        axes.scatter([x(row) for row in own], [y(row) for row in own], s=22, color=BLUE, label="the holder, in a shop")
        axes.scatter([x(row) for row in frauds], [y(row) for row in frauds], s=34, color=RED, marker="X", label="thief")
        for row in frauds if axes is course else ():
            axes.annotate(f"{row.score:.2f}", (x(row), y(row)), (6, -3), textcoords="offset points", fontsize=8)
    chart.set(xlabel="longitude", ylabel="latitude", title=f"{len(shops)} purchases of a month, {len(frauds)} frauds")
    chart.margins(0.15)
    chart.set_aspect(1 / np.cos(np.radians(home.lat)), adjustable="datalim")
    chart.legend(loc="best")
    highest = max(row.score or 0.0 for row in meanwhile)
    course.set(xlabel=f"hours since {first:%H:%M}", ylabel="amount, $")
    course.set_title(f"Scores of the frauds; the holder's are at most {highest:.3f}")
    course.set(yscale="log", yticks=[10, 30, 100, 300, 1000], yticklabels=["10", "30", "100", "300", "1,000"])
    course.yaxis.set_minor_formatter(NullFormatter())
    course.margins(0.1)
    return figure


def most_crossed(rows: Sequence[Row], live: Live) -> tuple[list[Row], list[Row]]:
    """The episode of a stolen card of five frauds or more beside which the holder goes to the most shops; and those."""
    stolen: dict[int, list[Row]] = {}
    for row in live.rows:
        if row.event.pattern == "stolen":
            stolen.setdefault(row.made.cc_num, []).append(row)
    found = []
    for card, frauds in stolen.items():
        first, last = frauds[0].made.at, frauds[-1].made.at
        if len(frauds) < 5 or last - first > timedelta(hours=12):
            continue
        since, until = first - timedelta(hours=3), last + timedelta(hours=3)
        near = [row for row in rows if row.made.cc_num == card and since <= row.made.at <= until]
        found.append((frauds, [row for row in near if in_shop(row) and not row.event.is_fraud]))
    return max(found, key=lambda each: len(each[1]))


def in_shop(row: Row) -> bool:
    """Whether somebody went there."""
    return not row.made.category.endswith("_net")


def delay(rows: Sequence[Row], confirmed: Sequence[Confirmed], newest: datetime) -> Figure:
    """How long it takes until the truth is out; and what was known of each day when the first detector was trained."""
    figure, (late, days) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    latest = confirmed[-1].at - MONTH
    frauds = [each for each in confirmed if each.fraud and each.made.at <= latest]
    told = np.sort([(each.at - each.made.at) / timedelta(days=1) for each in frauds])
    shares = 100 * np.arange(1, len(told) + 1) / len(told)
    late.step([0, *told], [0, *shares], where="post", color=RED, label=f"{len(told)} frauds until {said(latest)}")
    late.axvline(7, color=BLUE, linestyle="--", label="genuine: nobody has complained")
    late.set(xlabel="days after the transaction", ylabel="% known", title="When the truth is out", xlim=(0, None))
    late.legend(loc="lower right")
    happened: dict[bool, dict[date, int]] = {True: {}, False: {}}
    known: dict[bool, dict[date, int]] = {True: {}, False: {}}
    for row in rows:
        if row.made.at <= newest:
            add(happened[row.event.is_fraud], row.made.at.date())
    for each in confirmed:
        if each.at <= newest:
            add(known[each.fraud], each.made.at.date())
    for fraud, colour, name in ((False, BLUE, "genuine ones"), (True, RED, "frauds")):
        heights = [100 * known[fraud].get(day, 0) / count for day, count in happened[fraud].items()]
        days.step(list(happened[fraud]), heights, where="mid", color=colour, label=name)
    days.set(ylabel="% known", ylim=(0, 105), title=f"Of each day's transactions, what is known on {said(newest)}")
    days.xaxis.set_major_formatter(DateFormatter("%d %b"))
    days.legend(loc="lower left")
    return figure


def said(moment: datetime) -> str:
    """A day as people say it."""
    return f"{moment.day} {moment:%B}"


def add(counts: dict[date, int], day: date) -> None:
    """One more."""
    counts[day] = counts.get(day, 0) + 1


def precision_recall(live: Live) -> Figure:
    """The curves, each with its area, and where rules and detector stand."""
    fraud = live.examples.fraud
    figure, axes = plt.subplots(figsize=(6.4, 4.8), layout="constrained")
    again = resampled(live.examples, *live.scores.values())
    for (name, scores), made, colour in zip(live.scores.items(), again, (GREY, BLUE, ORANGE), strict=True):
        precision, recall, _ = precision_recall_curve(fraud, scores)
        area = Interval.of(average_precision(fraud, scores), made)
        axes.step(recall, precision, where="post", color=colour, label=f"{name}: {area}")
    for name, marker, colour in (("rules", "s", RED), ("detector", "o", BLUE)):
        alarms = live.alarms[name]
        right = int((alarms & fraud).sum())
        told = f"{name}: {right} of {int(alarms.sum())} alarms are right, of {int(fraud.sum())} frauds"
        axes.plot(right / fraud.sum(), right / alarms.sum(), marker, color=colour, label=told)
    _, detector, regression = (average_precision(fraud, scores) for scores in live.scores.values())
    gain = Interval.of(detector - regression, again[1] - again[2])
    axes.set_title(f"{int(fraud.sum())} frauds among {len(fraud):,}; detector over regression, paired: {gain}")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.legend(loc="lower left", fontsize=8)
    return figure


def patterns(live: Live) -> Figure:
    """Which part of the frauds of each pattern gets an alarm."""
    fraud = live.examples.fraud
    names = [each.name for each in (*PATTERNS, STEALTHY)]
    of = {name: np.array([row.event.pattern == name for row in live.rows]) & fraud for name in names}
    figure, axes = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
    for place, (who, colour) in enumerate(
        (("rules", RED), ("logistic regression", ORANGE), ("detector", BLUE), ("oracle", GREY))
    ):
        shares = [100 * live.alarms[who][of[name]].mean() for name in names]
        right = int((live.alarms[who] & fraud).sum())
        bars = axes.bar(
            np.arange(len(names)) + 0.2 * (place - 1.5),
            shares,
            0.19,
            color=colour,
            label=f"{who}: {right} frauds in {int(live.alarms[who].sum())} alarms",
        )
        axes.bar_label(bars, fmt="%.0f", fontsize=7)
    axes.set_xticks(range(len(names)), [f"{name}\n{of[name].sum()} frauds" for name in names])
    axes.set(ylabel="% with an alarm", title="What is found of each pattern")
    figure.legend(loc="outside lower center", fontsize=8, ncols=2)
    return figure


def drifted(rows: Sequence[Row], features: Features, since: datetime) -> Figure:
    """Amounts of the week before the shift and of the one after it, and what one and the same version says of both."""
    version = next(row.version for row in rows if row.made.at >= since)
    assert version is not None
    with closing(Registry(MLFLOW, DETECTOR)) as registry:
        detector = registry.load(Version(version, "", datetime.now(UTC), {}))
    figure, both = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    weeks = {
        f"week until {said(since)}": ([row for row in rows if since - WEEK <= row.made.at < since], GREY),
        "week after it": ([row for row in rows if since <= row.made.at < since + WEEK], ORANGE),
    }
    for name, (week, colour) in weeks.items():
        amounts = np.array([row.made.amt for row in week])
        scores = detector.score([features[row.made.trans_num] for row in week])
        alarms, frauds = detector.is_fraud(scores), np.array([row.event.is_fraud for row in week])
        outline(both[0], amounts, np.geomspace(1, 2000, 50), colour, f"{name}: median {np.median(amounts):.2f} $")
        told = f"{name}: {alarms.sum()} alarms, {(alarms & frauds).sum()} of {frauds.sum()} frauds"
        outline(both[1], scores, np.geomspace(1e-5, 1, 40), colour, told)
    both[0].set(xlabel="amount, $", ylabel="transactions", xscale="log", title=f"{len(week):,} amounts a week")
    both[1].axvline(detector.threshold, color="black", linestyle=":", label=f"threshold {detector.threshold:.3f}")
    both[1].set(xlabel="score", xscale="log", yscale="log", title=f"What version {version} says of them")
    for axes, top in zip(both, (1.3, 8), strict=True):
        axes.set_ylim(top=axes.get_ylim()[1] * top)
        axes.legend(loc="upper right", fontsize=8)
    return figure


def weekly(rows: Sequence[Row], since: datetime) -> Figure:
    """Of each week before and after the shift, what was found, what was missed, and the alarms for nothing."""
    figure, axes = plt.subplots(figsize=(9, 3.6), layout="constrained")
    weeks: dict[int, list[Row]] = {}
    for row in rows:
        if row.version:
            weeks.setdefault((row.made.at - since) // WEEK, []).append(row)
    whole = {number: week for number, week in weeks.items() if week[-1].made.at - week[0].made.at > 0.9 * WEEK}
    names = [said(since + number * WEEK) for number in whole]
    kinds = {
        "frauds with an alarm": (lambda row: row.called and row.event.is_fraud, GREEN, 1),
        "alarms for nothing": (lambda row: row.called and not row.event.is_fraud, ORANGE, 1),
        "frauds without one": (lambda row: not row.called and row.event.is_fraud, GREY, -1),
    }
    heights = np.zeros(len(whole))
    for name, (is_one, colour, side) in kinds.items():
        counts = np.array([sum(map(is_one, week)) for week in whole.values()])
        bars = axes.bar(names, side * counts, 0.6, bottom=heights if side > 0 else 0, color=colour, label=name)
        axes.bar_label(bars, [str(count) for count in counts], label_type="center", fontsize=8)
        heights = heights + counts
    versions = [sorted({row.version for row in week if row.version}) for week in whole.values()]
    axes.set_xticks(
        range(len(names)),
        [f"{name}\nversion {' and '.join(map(str, which))}" for name, which in zip(names, versions, strict=True)],
    )
    axes.axvline(sum(number < 0 for number in whole) - 0.5, color="black", linestyle="--", label="the shift")
    axes.set(ylabel="transactions", title="Weeks from that day on, and the version that scored them")
    figure.legend(loc="outside lower center", fontsize=8, ncols=4)
    return figure


def outline(axes: Axes, values: Floats, edges: Floats, colour: str, label: str) -> None:
    """A histogram's outline."""
    axes.hist(np.clip(values, edges[0], edges[-1]), edges, histtype="step", color=colour, linewidth=1.6, label=label)


if __name__ == "__main__":
    main()
