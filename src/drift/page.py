"""The page of a look: one file without scripts, that needs no network. Each project fills in what it looked at."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from html import escape
from string import Template

from drift.verdict import Part

__all__ = ["bars", "page", "table_of"]

PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title, $at</title>
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
<h1>$title</h1>
<p>$at. $body
<p><small>A score counts as drift above its threshold, which chance passes once in a thousand looks at equal samples of
these sizes, and which is not below what is worth a retraining. $note</small></p>
</body>
</html>
""")


def page(title: str, at: datetime, body: str, note: str) -> bytes:
    """The whole page.

    Args:
        title: What it is about.
        at: When the look was.
        body: HTML that goes on in the paragraph which says when.
        note: What is to be said at the end of how it was compared, as HTML.
    """
    return PAGE.substitute(title=escape(title), at=f"{at:%Y-%m-%d %H:%M:%S} UTC", body=body, note=note).encode()


def table_of(parts: Mapping[str, Part], explained: Mapping[str, tuple[str, str]]) -> str:
    """A row for each part; `explained` has its title, and what its score is."""
    rows = "\n".join(_row(part, *explained[name]) for name, part in parts.items())
    heads = "".join(f'<th class="number">{each}</th>' for each in ("Score", "Threshold", "By chance"))
    return f"<table>\n<tr><th>Part</th><th>Verdict</th>{heads}</tr>\n{rows}\n</table>"


def _row(part: Part, title: str, explained: str) -> str:
    said = '<span class="drift">drift</span>' if part.detected else "no drift"
    chance = "&lt; 0.001" if part.p_value < 0.001 else f"{part.p_value:.3f}"
    numbers = "".join(
        f'<td class="number">{each}</td>' for each in (f"{part.score:.3f}", f"{part.threshold:.3f}", chance)
    )
    return f"<tr><td><b>{title}</b><br><small>{explained}</small></td><td>{said}</td>{numbers}</tr>"


def bars(name: str, reference: float, current: float, highest: float) -> str:
    """A row of a table: a name, as HTML, and its share of each sample as a bar and a number."""
    shares = {"reference": reference, "current": current}
    drawn = "".join(
        f'<span class="bar {kind}" style="width: {100 * share / highest:.1f}%"></span>'
        for kind, share in shares.items()
    )
    numbers = "".join(f'<td class="number">{share:.1%}</td>' for share in shares.values())
    return f'<tr><td style="width: 30%">{name}</td><td style="width: 45%">{drawn}</td>{numbers}</tr>'
