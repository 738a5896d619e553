"""The verdict as a page: one file without scripts, that needs no network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from string import Template

from catalog.names import CATEGORIES
from monitoring.comparison import Listing, TextDrift
from monitoring.verdict import Part, Verdict

__all__ = ["page"]

# A listing of an API may be a novel.
SHOWN = 240
EXPLAINED = {
    "text": (
        "Texts",
        "How well a classifier of words tells a current listing from one of the training data: 0.5 is not at all, "
        "1 always (area under the ROC curve).",
    ),
    "prediction": (
        "Predictions",
        "The share of listings that would have to be in another category for both samples to be alike "
        "(total variation distance).",
    ),
}
PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Drift of the catalogue, $at</title>
<style>
:root { color-scheme: light dark; --reference: #7a8aa0; --current: #d2691e; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; vertical-align: top; border-bottom: 1px solid #8884; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.drift { color: var(--current); font-weight: 700; }
.bar { display: block; height: .5rem; min-width: 1px; margin: .2rem 0; }
.reference { background: var(--reference); } .current { background: var(--current); }
.key { display: inline-block; width: .8rem; height: .8rem; }
small { opacity: .75; }
</style>
</head>
<body>
<h1>Drift of the catalogue</h1>
<p>$at. Model version $version. $current different listings of the API against $reference of those that the model
was trained on.</p>
<table>
<tr><th>Part</th><th>Verdict</th><th class="number">Score</th><th class="number">Threshold</th>
<th class="number">By chance</th></tr>
$parts
</table>
<h2>Categories</h2>
<p><span class="key reference"></span> training data that the model was judged on, not trained on ($held_out listings)
&nbsp; <span class="key current"></span> the API</p>
<table>
<tr><th>Category</th><th style="width: 45%"></th><th class="number">Training</th><th class="number">API</th></tr>
$categories
</table>
<h2>What is new in the texts</h2>
<p>Words that speak most for the API's listings: $words.</p>
<p>Listings that are least like the training data, the most different first:</p>
<ol>
$listings
</ol>
<p><small>A score counts as drift above its threshold, which chance passes once in a thousand looks at equal samples of
these sizes, and which is not below what is worth a retraining. Listings are shown cleaned, as the model reads them.
</small></p>
</body>
</html>
""")


def page(verdict: Verdict, text: TextDrift, reference: Sequence[int], current: Sequence[int]) -> bytes:
    """The page; the categories are those that the model named, for either sample."""
    return PAGE.substitute(
        at=f"{verdict.at:%Y-%m-%d %H:%M:%S} UTC",
        version=verdict.version,
        reference=f"{verdict.rows['reference']:,}",
        current=f"{verdict.rows['current']:,}",
        held_out=f"{len(reference):,}",
        parts="\n".join(_part(name, part) for name, part in verdict.parts.items()),
        categories=_categories(Counter(reference), Counter(current)),
        words=", ".join(f"<b>{escape(word)}</b>" for word in text.words) or "none",
        listings="\n".join(_listing(each) for each in text.listings),
    ).encode()


def _part(name: str, part: Part) -> str:
    title, explained = EXPLAINED[name]
    said = '<span class="drift">drift</span>' if part.detected else "no drift"
    numbers = "".join(f'<td class="number">{each}</td>' for each in (_short(part.score), _short(part.threshold)))
    chance = "&lt; 0.001" if part.p_value < 0.001 else _short(part.p_value)
    return (
        f'<tr><td><b>{title}</b><br><small>{explained}</small></td><td>{said}</td>{numbers}<td class="number">'
        f"{chance}</td></tr>"
    )


def _categories(reference: Mapping[int, int], current: Mapping[int, int]) -> str:
    """A row for each category, those that changed most first."""
    shares = {
        code: tuple(each.get(code, 0) / sum(each.values()) for each in (reference, current))
        for code in {*reference, *current}
    }
    highest = max(max(both) for both in shares.values())
    ordered = sorted(shares.items(), key=lambda item: (-abs(item[1][1] - item[1][0]), item[0]))
    return "\n".join(_category(code, before, now, highest) for code, (before, now) in ordered)


def _category(code: int, before: float, now: float, highest: float) -> str:
    bars = "".join(
        f'<span class="bar {kind}" style="width: {100 * share / highest:.1f}%"></span>'
        for kind, share in (("reference", before), ("current", now))
    )
    name = escape(CATEGORIES.get(code, "unknown"))
    numbers = "".join(f'<td class="number">{share:.1%}</td>' for share in (before, now))
    return f"<tr><td>{name} <small>{code}</small></td><td>{bars}</td>{numbers}</tr>"


def _listing(listing: Listing) -> str:
    title, description = (each if len(each) <= SHOWN else f"{each[:SHOWN]} …" for each in listing)
    return f"<li><b>{escape(title)}</b><br><small>{escape(description)}</small></li>"


def _short(number: float) -> str:
    return f"{number:.3f}"
