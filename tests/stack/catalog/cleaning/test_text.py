"""What cleaning does to a text, against its specification: the page, and a slow program written from the page."""

from __future__ import annotations

import csv
import json
import random
import re
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.text import BLOCKS, SPECIFICATION, clean

from . import specification

EXAMPLE = re.compile(r'\| `(".*")` \| `(".*")` \|')
EXAMPLES = [
    tuple(map(json.loads, found.groups()))
    for found in map(EXAMPLE.fullmatch, specification.PAGE.read_text(encoding="utf-8").splitlines())
    if found
]
# What fuzzed texts are made of: pieces that mean something in one state or another, and some that never do.
PIECES = [
    *"<>/!?-='\"&;# \t\n\r\f\0aBx1\xe9",
    *"</ <!-- --> --!> <!--> <br> <BR/> <p> </p> <b> </b> <script> </script> <style> </style> <scr ipt>".split(),
    *"<![CDATA[ ]]> <!DOCTYPE <?xml ?> &amp; &amp &lt; &lt &eacute &nbsp; &notin; &noti &# &#x".split(),
    *"&#65; &#x41 &#146; &#0; &CounterClockwiseContourIntegral;".split(),
    *"\u200b \xad \ufeff \x92 \x85 \u2028 \u0301 \u0327 \u017f \u212a \u0130 \xdf \ufb01 \xb2 \ud800 \ufe0f".split(" "),
    *(" title='x>y'", ' href="', " = ", "<a ", "J\u030c", "<a\xa0b>", "\U0001f642"),
]


def test_there_are_many_examples() -> None:
    """The page has the examples that the next test reads, and the version and the blocks of the program."""
    assert len(EXAMPLES) >= 100
    page = specification.PAGE.read_text(encoding="utf-8")
    assert f"This is specification **{SPECIFICATION}**." in page
    assert specification.BLOCKS == BLOCKS


@pytest.mark.parametrize("program", [clean, specification.clean])
def test_examples_of_the_page(program: Callable[[str], str]) -> None:
    """Each hostile text becomes what the page says, by the quick program and by the slow one."""
    wrong = [(text, program(text), expected) for text, expected in EXAMPLES if program(text) != expected]
    assert wrong == []


def test_fuzzed_texts_agree() -> None:
    """Thousands of texts made of hostile pieces become the same by both programs."""
    chance = random.Random(42)
    for _ in range(6_000):
        text = "".join(chance.choices(PIECES, k=chance.randint(1, 12)))
        assert clean(text) == specification.clean(text), ascii(text)


def test_every_character_agrees_and_is_clean() -> None:
    """Each character of Unicode in a word: both programs agree, and what comes is in its last form."""
    for code in range(sys.maxunicode + 1):
        if code > 0x3000 and code % 29 and code & 0xFFFE != 0xFFFE:
            continue  # of the large scripts and the empty planes a sample will do
        text = f"x{chr(code)}y"
        cleaned = clean(text)
        assert cleaned == specification.clean(text), ascii(text)
        assert unicodedata.is_normalized("NFKC", cleaned), ascii(text)
        assert cleaned == " ".join(cleaned.lower().split())
        cleaned.encode()


@pytest.mark.real_data
def test_real_rows_agree(real_listings: Path) -> None:
    """Both programs make the same of the 3,000 real rows."""
    with (real_listings / "X_train.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3_000
    for row in rows:
        for field in ("designation", "description"):
            assert clean(row[field]) == specification.clean(row[field]), row["index"]


# What a repetition of could be slow: each begins something that does not end, or ends what did not begin.
HOSTILE = [
    *"< <a & <!-- <![CDATA[ ]]> <script> <script </script <style></ </ <? <! &# &#x &a &#0 <a='<b> &amp; <br>".split(),
    *("<a ", "<a b='", '<a b="', "<a b= ", "<a =", "<script>x</script ", "<!--->", "a<b", "  ", " \n", "é "),
    *("\u0301", "\u0315\u0300", "\u0344", "\x92", "\u200b", "—", "ﷺ", "\ud800", "\uff21\uff22", "K\u030c"),
    "\u0301\uff9e",
]


@pytest.mark.parametrize("piece", HOSTILE, ids=ascii)
def test_time_is_linear(piece: str) -> None:
    """Four times the text takes about four times the processor time; what is quadratic would take sixteen times."""
    few, many = (seconds(piece * (length // len(piece))) for length in (50_000, 200_000))
    assert many < 9 * max(few, 0.003), f"{few:.3f} s, {many:.3f} s"


def seconds(text: str) -> float:
    """The processor time that cleaning takes, at its best of two."""
    taken = []
    for _ in range(2):
        begin = time.process_time()
        clean(text)
        taken.append(time.process_time() - begin)
    return min(taken)
