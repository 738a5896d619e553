"""The verdict as a page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import pairwise
from string import Template

import numpy as np
import numpy.typing as npt

from drift.page import bars, page, table_of
from fraud.drift.sample import Row, highest_scores, scored_rows
from fraud.drift.verdict import TransactionVerdict
from fraud.features import FEATURES
from fraud.model import Detector

__all__ = ["report"]

Floats = npt.NDArray[np.float64]

# So many features are drawn, and so many bands a feature has.
DRAWN, BANDS = 6, 10
# Scores span many powers of ten.
SCORES = (1e-4, 1e-3, 1e-2, 1e-1, 0.5)
EXPLAINED = {
    "data": (
        "Transactions",
        "How far the feature that moved most for its kind has moved: the share of transactions that would have to be "
        "on the other side of some value (Kolmogorov and Smirnov).",
    ),
    "score": ("Scores", "How far the champion's scores have moved, by the same measure."),
    "alarms": (
        "Alarms",
        "How many times as many cards, or as few, have an alarm in a week (Fisher's exact test).",
    ),
}
BODY = Template("""\
Model version $version. $current cards of the week until $until against $reference cards of the last week that
the model knew when it was made. Of each card, a few transactions.</p>
$parts
<p><span class="key reference"></span> reference &nbsp; <span class="key current"></span> now</p>
<h2>Features</h2>
<p>The middle value, and the quarters around it; last, of how many transactions a feature has nothing to say.</p>
<div class="wide">
<table>
<tr><th>Feature</th><th class="number">Moved</th><th class="number">Threshold</th>
<th class="number">Reference</th><th class="number">Now</th><th class="number">Nothing to say</th></tr>
$features
</table>
</div>
<h2>Those that moved most</h2>
$drawn
<h2>Scores</h2>
<p>An alarm is a score of $limit or more. Of $scored cards that the champion has not learned from, $before had one in
the reference's week; of $current cards $now have one now.</p>
$scores
""")
NOTE = (
    "The thresholds of the features allow for their number: chance passes any of them once in a thousand looks. "
    "A card's transactions stay together when chance is counted: what one card does again and again is no drift."
)


def report(verdict: TransactionVerdict, detector: Detector, reference: Sequence[Row], current: Sequence[Row]) -> bytes:
    """The page; it names no card."""
    scored = scored_rows(reference)
    columns = {
        name: (_column(reference, place), _column(current, place))
        for name, place in ((name, FEATURES.index(name)) for name in verdict.moved)
    }
    alarms = (detector.is_fraud(np.array(highest_scores(rows))).sum() for rows in (scored, current))
    before, now = (f"{int(count):,}" for count in alarms)
    body = BODY.substitute(
        version=verdict.version,
        until=f"{verdict.until:%Y-%m-%d %H:%M}",
        reference=f"{verdict.rows['reference']:,}",
        current=f"{verdict.rows['current']:,}",
        parts=table_of(verdict.parts, EXPLAINED),
        features="\n".join(_feature(verdict, name, *both) for name, both in columns.items()),
        drawn="\n".join(f"<h3>{escape(name)}</h3>\n{_bands(*columns[name])}" for name in list(columns)[:DRAWN]),
        limit=_short(detector.threshold),
        scored=f"{len(highest_scores(scored)):,}",
        before=before,
        now=now,
        scores=_table(_shares(SCORES, *(np.array([row.score for row in rows]) for rows in (scored, current)))),
    )
    return page("Drift of the card transactions", verdict.at, body, NOTE)


def _column(rows: Sequence[Row], place: int) -> Floats:
    return np.array([row.features[place] for row in rows])


def _feature(verdict: TransactionVerdict, name: str, before: Floats, now: Floats) -> str:
    """A row: how far it has moved, and its quartiles."""
    part = verdict.moved[name]
    moved = f'<span class="drift">{part.score:.3f}</span>' if part.detected else f"{part.score:.3f}"
    shares = [float(np.isnan(each).mean()) for each in (before, now)]
    silent = " → ".join(f"{share:.1%}" for share in shares) if any(shares) else ""
    said = (moved, f"{part.threshold:.3f}", _quarters(before), _quarters(now), silent)
    cells = "".join(f'<td class="number">{each}</td>' for each in said)
    return f"<tr><td>{escape(name)}</td>{cells}</tr>"


def _quarters(column: Floats) -> str:
    said = column[~np.isnan(column)]
    if not len(said):
        return "nothing"
    low, middle, high = np.quantile(said, (0.25, 0.5, 0.75))
    return f"{_short(middle)} <small>({_short(low)} to {_short(high)})</small>"


def _bands(before: Floats, now: Floats) -> str:
    """The shares of both samples in bands that are the reference's tenths."""
    said = before[~np.isnan(before)]
    cuts = np.unique(np.quantile(said, np.arange(1, BANDS) / BANDS)) if len(said) else np.array([])
    return _table(_shares(cuts.tolist(), before, now))


def _shares(cuts: Sequence[float], before: Floats, now: Floats) -> Iterator[tuple[str, float, float]]:
    """Each band that the cuts make, with the share of each sample in it; last, what has no value."""
    edges = [-math.inf, *cuts, math.inf]
    for low, high in pairwise(edges):
        above, below = (f"from {_short(low)}", f"below {_short(high)}")
        name = " ".join(text for text, edge in ((above, low), (below, high)) if math.isfinite(edge)) or "any"
        yield name, *_means((each >= low) & (each < high) for each in (before, now))
    if np.isnan(before).any() or np.isnan(now).any():
        yield "nothing to say", *_means(np.isnan(each) for each in (before, now))


def _means(flags: Iterable[npt.NDArray[np.bool_]]) -> tuple[float, float]:
    before, now = (float(each.mean()) for each in flags)
    return before, now


def _table(shares: Iterator[tuple[str, float, float]]) -> str:
    """Bands as bars."""
    rows = list(shares)
    highest = max(max(both) for _, *both in rows) or 1.0
    return "<table>\n" + "\n".join(bars(*row, highest) for row in rows) + "\n</table>"


def _short(number: float) -> str:
    """A number in as few characters as tell it."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"
