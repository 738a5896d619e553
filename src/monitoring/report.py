"""The verdict as a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from string import Template

from catalog.names import CATEGORIES
from drift.page import bars, page, table_of
from drift.verdict import Verdict
from monitoring.comparison import Listing, TextDrift

__all__ = ["report"]

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
BODY = Template("""\
Model version $version. $current different listings of the API against $reference of those that the model
was trained on.</p>
$parts
<h2>Categories</h2>
<p><span class="key reference"></span> training data that the model was judged on, not trained on ($held_out listings)
&nbsp; <span class="key current"></span> the API</p>
<table>
<tr><th>Category</th><th></th><th class="number">Training</th><th class="number">API</th></tr>
$categories
</table>
<h2>What is new in the texts</h2>
<p>Words that speak most for the API's listings: $words.</p>
<p>Listings that are least like the training data, the most different first:</p>
<ol>
$listings
</ol>
""")
NOTE = "Listings are shown cleaned, as the model reads them."


def report(verdict: Verdict, text: TextDrift, reference: Sequence[int], current: Sequence[int]) -> bytes:
    """The page; the categories are those that the model named, for either sample."""
    body = BODY.substitute(
        version=verdict.version,
        reference=f"{verdict.rows['reference']:,}",
        current=f"{verdict.rows['current']:,}",
        held_out=f"{len(reference):,}",
        parts=table_of(verdict.parts, EXPLAINED),
        categories=_categories(Counter(reference), Counter(current)),
        words=", ".join(f"<b>{escape(word)}</b>" for word in text.words) or "none",
        listings="\n".join(_listing(each) for each in text.listings),
    )
    return page("Drift of the catalogue", verdict.at, body, NOTE)


def _categories(reference: Mapping[int, int], current: Mapping[int, int]) -> str:
    """A row for each category, those that changed most first."""
    shares = {
        code: tuple(each.get(code, 0) / sum(each.values()) for each in (reference, current))
        for code in {*reference, *current}
    }
    highest = max(max(both) for both in shares.values())
    ordered = sorted(shares.items(), key=lambda item: (-abs(item[1][1] - item[1][0]), item[0]))
    return "\n".join(bars(_category(code), before, now, highest) for code, (before, now) in ordered)


def _category(code: int) -> str:
    return f"{escape(CATEGORIES.get(code, 'unknown'))} <small>{code}</small>"


def _listing(listing: Listing) -> str:
    title, description = (each if len(each) <= SHOWN else f"{each[:SHOWN]} …" for each in listing)
    return f"<li><b>{escape(title)}</b><br><small>{escape(description)}</small></li>"
