"""What happens to descriptions on their way to a marketplace: markup, character references, wrong encodings.

Each is what sellers' tools really leave behind, and what a cleaning has to undo: tags closed or not, comments, styles
and scripts, `a < b > c` as text, references once or twice escaped, UTF-8 that was read as Windows-1252.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html.entities import codepoint2name

__all__ = ["Draw", "dress", "pick"]

Draw = Callable[[], float]
"""A number from 0 up to 1, the next of a stream."""

BREAKS = (" ", "<br>", "<br />", "<br/><br/>", " <br> ", "\n", ". ")
REMARKS = (
    "<!-- fiche produit -->",
    "<!--[if gte mso 9]><xml></xml><![endif]-->",
    "<style>p { margin: 0; } a > b { color: red }</style>",
    '<script type="text/javascript">if (a < b && b > c) { show("<p>offre</p>"); }</script>',
    '<img src="photo.jpg" alt="vue > détail">',
    '<a href="#" title="prix < 20 et > 10">',
    "<p>&nbsp;</p>",
    "taille 36 < 38 > 34",
    "R&D",
    "&#8226; ",
    "&#x27A4; ",
    "<![CDATA[ notice ]]>",
    "\u200b",
    "\u00ad",
)
PLAIN, REFERENCES, TWICE, MOJIBAKE = 0.60, 0.90, 0.95, 0.985


def pick(choices: Sequence[str], draw: float) -> str:
    """The choice that a draw stands for."""
    return choices[int(draw * len(choices))]


def dress(sentences: Sequence[str], draw: Draw) -> str:
    """A description out of its sentences, with the noise that the draws bring."""
    kind = draw()
    if kind < 0.30:
        text = " ".join(sentences)
    elif kind < 0.65:
        text = pick(BREAKS, draw()).join(sentences)
    elif kind < 0.82:
        text = "".join(f"<p>{sentence}</p>" for sentence in sentences)
    elif kind < 0.94:
        text = "<ul>" + "".join(f"<li><b>{sentence}</b></li>" for sentence in sentences) + "</ul>"
    else:
        # Cut off by a form that holds so many characters: the last tag is not whole.
        text = "<p>".join(sentences) + "<div class='suite"
    if draw() < 0.35:
        at = text.find(" ", int(draw() * len(text)))
        text = f"{text[:at]} {pick(REMARKS, draw())}{text[at:]}" if at > 0 else text
    return _recoded(text, draw())


def _recoded(text: str, way: float) -> str:
    """The text with its special characters as one of the usual tools writes them."""
    if way < PLAIN:
        return text
    if way < REFERENCES:
        return _referenced(text)
    if way < TWICE:
        return _referenced(text).replace("&", "&amp;")
    if way < MOJIBAKE:
        return text.encode("utf-8").decode("cp1252", "replace")
    return text.replace(" ", "&nbsp;")


def _referenced(text: str) -> str:
    """Each character that is not ASCII as a character reference."""
    return "".join(char if char.isascii() else f"&{codepoint2name.get(ord(char), f'#{ord(char)}')};" for char in text)
