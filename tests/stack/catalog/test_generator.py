"""The generator of listings: the same ones everywhere, in the shape of real ones, with what cleaning has to undo."""

from __future__ import annotations

import hashlib
import json
import math
import re
import subprocess
import sys
from collections import Counter

import pytest
from tests.stack.conftest import environment

from data.generator import Generator
from data.products import CATEGORIES

COUNT = 6_000
Listings = list[dict[str, str | None]]
DIGEST = "from data.generator import Generator as G; import hashlib, json; g = G(42); print(hashlib.sha256(\
json.dumps([g.listing(i) for i in range(300)]).encode()).hexdigest())"


@pytest.fixture(scope="module")
def listings() -> Listings:
    """The first listings of the default seed."""
    generator = Generator(42)
    return [generator.listing(number) for number in range(COUNT)]


def texts(listings: Listings, name: str) -> list[str]:
    """One field of all listings."""
    return [str(each[name]) for each in listings]


def test_a_seed_gives_the_same_listings_everywhere(listings: Listings) -> None:
    """Another process with another hash seed makes the same; any range alone is as in the whole; seeds differ."""
    settings = environment(PYTHONHASHSEED=7)
    done = subprocess.run([sys.executable, "-c", DIGEST], env=settings, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256(json.dumps(listings[:300]).encode()).hexdigest()
    assert [Generator(42).listing(number) for number in (4711, 5)] == [listings[4711], listings[5]]
    other = Generator(43)
    assert not set(texts(listings, "productid")) & {other.listing(number)["productid"] for number in range(100)}


def test_the_categories_are_unbalanced_as_real_ones(listings: Listings) -> None:
    """All 27 occur; the largest is pools, with one listing in eight, the smallest has less than one in fifty."""
    counts = Counter(texts(listings, "prdtypecode"))
    assert set(map(int, counts)) == CATEGORIES
    assert counts.most_common(1)[0][0] == "2583"
    assert 0.10 < max(counts.values()) / COUNT < 0.14
    assert 0.004 < min(counts.values()) / COUNT < 0.02


def test_the_texts_have_the_lengths_of_real_ones(listings: Listings) -> None:
    """A third has no description; most are a few hundred characters long, some of them thousands."""
    lengths = sorted(map(len, texts(listings, "description")))
    assert 0.30 < lengths.count(0) / COUNT < 0.37
    assert 100 < lengths[COUNT // 2] < 500
    assert lengths[-1] > 4_000
    titles = sorted(map(len, texts(listings, "designation")))
    assert 0 < titles[0] < 20 < titles[COUNT // 2] < 100 < titles[-1] < 250


@pytest.mark.parametrize(
    "noise",
    [
        r"<p>.*</p>", r"<br ?/?>", r"<ul><li>", r"<!--.*-->", r"<script[^>]*>.*</script>", r"<style>", r"&eacute;",
        r"&amp;eacute;", r"&nbsp;", r"Ã©", r"36 < 38 > 34", r'alt="[^"]*>', r"R&D", r"<div class='suite$",
        r"<!\[CDATA\[", r"\u200b", r"\u00ad", r"\n", r"^nc$",
    ],
)  # fmt: skip
def test_the_noise_of_sellers_tools_is_there(listings: Listings, noise: str) -> None:
    """Each kind of it occurs, and none of them everywhere."""
    share = sum(bool(re.search(noise, text, re.DOTALL)) for text in texts(listings, "description")) / COUNT
    assert 0 < share < 0.35


def test_the_languages(listings: Listings) -> None:
    """Most listings are French, some English or German, few Spanish or Italian."""
    words = {
        "fr": " et | d'| de | pour ",
        "en": " the | and | for |great",
        "de": " für | und |ß|ü",
        "es": "descubra|perfecto para",
        "it": "scopri|perfetto per",
    }
    whole = [f"{each['designation']} {each['description']}".lower() for each in listings]
    counts = {name: sum(bool(re.search(pattern, text)) for text in whole) for name, pattern in words.items()}
    assert counts["fr"] > counts["en"] > counts["de"] > 100
    assert counts["es"] > 5
    assert counts["it"] > 5


def test_copies(listings: Listings) -> None:
    """Some listings are another one's text under a productid of their own, and some differ from it a little."""
    assert len(set(texts(listings, "productid"))) == COUNT
    described = [(each["designation"], each["description"]) for each in listings if each["description"]]
    exact = len(described) - len(set(described))
    near = len({text for _, text in described if len(str(text)) > 60})
    assert 0.005 < exact / COUNT < 0.04
    assert len({pair for pair in described if len(str(pair[1])) > 60}) - near > COUNT * 0.003


def test_the_categories_can_be_learned_but_not_wholly(listings: Listings) -> None:
    """A simple model (naive Bayes on words) tells two of three, and never all: some listings say too little."""
    learn, judge = listings[:4_500], listings[4_500:]
    words = [set(re.findall(r"\w+", f"{each['designation']} {each['description']}".lower())) for each in listings]
    known = Counter(texts(learn, "prdtypecode"))
    seen = {code: Counter[str]() for code in known}
    for each, said in zip(learn, words, strict=False):
        seen[str(each["prdtypecode"])].update(said)
    vocabulary = set().union(*seen.values())

    def score(code: str, said: set[str]) -> float:
        likely = (math.log((seen[code][word] + 0.1) / (known[code] + 0.2)) for word in said & vocabulary)
        return math.log(known[code]) + sum(likely)

    told = [max(known, key=lambda code: score(code, said)) for said in words[4_500:]]
    right = sum(code == each["prdtypecode"] for code, each in zip(told, judge, strict=True))
    assert 0.60 < right / len(judge) < 0.92
