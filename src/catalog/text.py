"""What a text becomes: HTML, character references, Unicode, case, white space.

docs/reference/cleaning.md is the specification; its version is ``SPECIFICATION``. Every pattern takes time that is
linear in the text: what begins is consumed to its end, or to the end of the text, and never tried again.
"""

from __future__ import annotations

import html
import re
import unicodedata
from functools import lru_cache

__all__ = ["BLOCKS", "SPECIFICATION", "clean"]

# Raised with every change of what a text becomes, or of which rows stay.
SPECIFICATION = 3

# Elements that stand on lines of their own: no word goes on through them. All others are inline, and vanish.
BLOCKS = frozenset(
    """
    address article aside blockquote body br caption center col colgroup dd details dialog dir div dl dt fieldset
    figcaption figure footer form frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html legend li listing main menu
    nav ol optgroup option p plaintext pre search section summary table tbody td tfoot th thead title tr ul xmp
    """.split()
)

_SECTION = re.compile(r"<!\[CDATA\[(.*?)(?:\]\]>|\Z)", re.DOTALL)

# What the HTML standard's tokenizer takes for a tag, from its name on. `++`, `*+` and `?+` give nothing back.
_REST = r"""
    (?:
        [\t\n\f\r /]++                              # between attributes
      | [^\t\n\f\r />] [^\t\n\f\r />=]*+            # an attribute's name; it may begin with "="
        (?: [\t\n\f\r ]*+ = [\t\n\f\r ]*+           # its value: nowhere else does a quote hide a ">"
            (?: "[^"]*+"?+ | '[^']*+'?+ | [^\t\n\f\r >]*+ )
        )?+
    )*+ >?+
"""
_RAW = "|".join(
    rf"(?ai:{name}) (?=[\t\n\f\r />]|\Z) {_REST} .*? (?: </(?ai:{name}) (?=[\t\n\f\r />]) {_REST} | \Z )"
    for name in ("script", "style")
)
# In one group, so that `split` gives what is between the tokens and the tokens in turn.
_TOKEN = re.compile(
    rf"""
    (
        < (?: {_RAW}
          | /?+ [A-Za-z] [^\t\n\f\r />]*+ {_REST}
          | !-- (?: -?+> | .*? (?: --!?+> | \Z ) )  # a comment
          | (?: [!?] | / (?!\Z) ) [^>]*+ >?+        # a doctype, a processing instruction, "</>"
        )
      | & (?: \#(?:[0-9]++|[xX][0-9A-Fa-f]++) | [^\t\n\f <&\#;]{{1,32}}+ ) ;?+
    )
    """,
    re.VERBOSE | re.DOTALL,
)
_NAME = re.compile(r"</?([A-Za-z][^\t\n\f\r />]*)")
# Most tokens are short, and have been there before.
_SHORT = 40
_ZEROS = re.compile(r"(?<=\A&#)0+|(?<=\A&#[xX])0+")
_LONGEST_NUMBER = len("&#1114111;")

# Controls but white space; what Unicode calls default ignorable (soft hyphen, zero width, marks of direction,
# selectors); private use; interlinear marks; halves of surrogate pairs; noncharacters; the planes without characters.
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ud800-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U0001fffe\U0001ffff\U0002fffe\U0002ffff\U0003fffe-\U0010ffff]"
)

# To sort marks takes time that grows with the square of their number.
_MOST_MARKS = 30
# Letters that NFKC makes into combining marks: the halfwidth voiced sound marks of katakana.
_HALFWIDTH = "\uff9e\uff9f"
_MARKS = re.compile(rf"(?:[^\w\s\x00-\x7f]|[{_HALFWIDTH}]){{{_MOST_MARKS + 1},}}+")


def clean(text: str) -> str:
    """The text as people would read it in a browser, in one spelling: lower case, composed, single spaces."""
    if "<" in text or "&" in text:
        if "<![CDATA[" in text:
            text = _SECTION.sub(r"\1", text)
        pieces = _TOKEN.split(text)
        pieces[1::2] = [_short(token) if len(token) <= _SHORT else _meaning(token) for token in pieces[1::2]]
        text = "".join(pieces)
    if not _is_plain(text):
        text = _MARKS.sub(_first_marks, _UNSEEN.sub(_see, text))
    text = text.lower() if text.isascii() else _fold(text)
    if not text.isprintable():
        # White space other than the space is in it, perhaps.
        return " ".join(text.split())
    while "  " in text:
        text = text.replace("  ", " ")
    return text.strip(" ")


def _meaning(token: str) -> str:
    """What stands in the place of a tag, a comment or a character reference."""
    if token.startswith("&"):
        return _character(token)
    named = _NAME.match(token)
    return " " if named and named[1].lower() in BLOCKS else ""


_short = lru_cache(maxsize=4096)(_meaning)


def _character(reference: str) -> str:
    """What a character reference stands for, by the rules of HTML; it is read once."""
    if reference.startswith("&#") and len(reference) > _LONGEST_NUMBER:
        # Python refuses to read numbers of thousands of digits.
        reference = _ZEROS.sub("", reference)
        if len(reference) > _LONGEST_NUMBER:
            return "\ufffd"
    return html.unescape(reference)


def _fold(text: str) -> str:
    """One spelling of what Unicode can spell in several ways, in lower case."""
    # Lower case can take characters apart: J̌ is two of them, ǰ is one.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text).lower())


def _is_plain(text: str) -> bool:
    """Whether all characters are printable ones of Latin-1, as they mostly are: then none is unseen."""
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return text.isprintable()


def _see(unseen: re.Match[str]) -> str:
    """A C1 control is what windows-1252 has in its place, as in HTML; all else goes."""
    code = ord(unseen[0])
    return bytes([code]).decode("cp1252", "ignore") if 0x80 <= code <= 0x9F else ""


def _first_marks(signs: re.Match[str]) -> str:
    """Of combining marks that follow each other no more than Unicode's stream-safe format has."""
    kept: list[str] = []
    marks = 0
    for sign in signs[0]:
        marks = marks + 1 if unicodedata.combining(sign) or sign in _HALFWIDTH else 0
        if marks <= _MOST_MARKS:
            kept.append(sign)
    return "".join(kept)
