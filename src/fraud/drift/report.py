"""The verdict as a page: one file without scripts, that needs no network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise
from string import Template

import numpy as np
import numpy.typing as npt

from fraud.drift.comparison import Part
from fraud.drift.sample import Row, highest_scores, scored_rows
from fraud.drift.verdict import Verdict
from fraud.features import FEATURES
from fraud.model import Detector

__all__ = ["page"]

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
PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Drift of the card transactions, $at</title>
<style>
:root { color-scheme: light dark; --reference: #7a8aa0; --current: #d2691e; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; vertical-align: top; border-bottom: 1px solid #8884; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.drift { color: var(--current); font-weight: 700; }
.bar { display: block; height: .5rem; min-width: 1px; margin: .2rem 0; }
.reference { background: var(--reference); } .current { background: var(--current); }
.key { display: inline-block; width: .8rem; height: .8rem; }
small { opacity: .75; }
.wide { overflow-x: auto; }
</style>
</head>
<body>
<h1>Drift of the card transactions</h1>
<p>$at. Model version $version. $current cards of the week until $until against $reference cards of the last week that
the model knew when it was made. Of each card, a few transactions.</p>
<table>
<tr><th>Part</th><th>Verdict</th><th class="number">Score</th><th class="number">Threshold</th>
<th class="number">By chance</th></tr>
$parts
</table>
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
<p><small>A score counts as drift above its threshold, which chance passes once in a thousand looks at equal samples of
these sizes, and which is not below what is worth a retraining. The thresholds of the features allow for their number:
chance passes any of them once in a thousand looks. A card's transactions stay together when chance is counted: what
one card does again and again is no drift.</small></p>
</body>
</html>
""")


def page(verdict: Verdict, detector: Detector, reference: Sequence[Row], current: Sequence[Row]) -> bytes:
    """The page; it names no card."""
    scored = scored_rows(reference)
    columns = {
        name: (_column(reference, place), _column(current, place))
        for name, place in ((name, FEATURES.index(name)) for name in verdict.moved)
    }
    alarms = (detector.is_fraud(np.array(highest_scores(rows))).sum() for rows in (scored, current))
    before, now = (f"{int(count):,}" for count in alarms)
    return PAGE.substitute(
        at=f"{verdict.at:%Y-%m-%d %H:%M:%S} UTC",
        version=verdict.version,
        until=f"{verdict.until:%Y-%m-%d %H:%M}",
        reference=f"{verdict.rows['reference']:,}",
        current=f"{verdict.rows['current']:,}",
        parts="\n".join(_part(name, part) for name, part in verdict.parts.items()),
        features="\n".join(_feature(verdict, name, *both) for name, both in columns.items()),
        drawn="\n".join(f"<h3>{escape(name)}</h3>\n{_bands(*columns[name])}" for name in list(columns)[:DRAWN]),
        limit=_short(detector.threshold),
        scored=f"{len(highest_scores(scored)):,}",
        before=before,
        now=now,
        scores=_table(_shares(SCORES, *(np.array([row.score for row in rows]) for rows in (scored, current)))),
    ).encode()


def _column(rows: Sequence[Row], place: int) -> Floats:
    return np.array([row.features[place] for row in rows])


def _part(name: str, part: Part) -> str:
    title, explained = EXPLAINED[name]
    said = '<span class="drift">drift</span>' if part.detected else "no drift"
    numbers = "".join(f'<td class="number">{each:.3f}</td>' for each in (part.score, part.threshold))
    chance = "&lt; 0.001" if part.p_value < 0.001 else f"{part.p_value:.3f}"
    return (
        f'<tr><td><b>{title}</b><br><small>{explained}</small></td><td>{said}</td>{numbers}<td class="number">'
        f"{chance}</td></tr>"
    )


def _feature(verdict: Verdict, name: str, before: Floats, now: Floats) -> str:
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
    lines = [_band(name, {"reference": before, "current": now}, highest) for name, before, now in rows]
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def _band(name: str, shares: Mapping[str, float], highest: float) -> str:
    bars = "".join(
        f'<span class="bar {kind}" style="width: {100 * share / highest:.1f}%"></span>'
        for kind, share in shares.items()
    )
    numbers = "".join(f'<td class="number">{share:.1%}</td>' for share in shares.values())
    return f'<tr><td style="width: 30%">{name}</td><td style="width: 45%">{bars}</td>{numbers}</tr>'


def _short(number: float) -> str:
    """A number in as few characters as tell it."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"
