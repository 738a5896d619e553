"""The transformer, run as users run it: raw listings → products, rejects with all reasons, and a manifest."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database
from tests.stack.catalog.conftest import Document, Relay
from tests.stack.conftest import Run

from data.generator import Generator
from data.listings import document
from data.products import CATEGORIES, RejectedError, product

Start = Callable[..., "subprocess.Popen[str]"]
MakeRelay = Callable[..., tuple[Relay, str]]
VALID = {
    "index": "0", "designation": "Vase", "description": "<p>bleu</p>", "productid": "3804725264",
    "imageid": "1263597046", "prdtypecode": "2060",
}  # fmt: skip


def listing(**changes: Any) -> Document:
    """A raw listing: a valid one, with some fields changed."""
    return document({**VALID, **changes}, "test", 0)


def fill(catalog: Database[Document], count: int) -> None:
    """Put generated listings in, as the extractor does."""
    generator = Generator(42)
    made = [document(generator.listing(number), "generator", number) for number in range(count)]
    catalog.raw_products.insert_many(made, ordered=False)


def manifest(catalog: Database[Document]) -> Document:
    """The manifest of the products."""
    return catalog.manifests.find_one({"_id": "products"}) or {}


def check(catalog: Database[Document], count: int) -> Document:
    """The manifest, which is complete and true of all products."""
    ids = sorted(each["_id"] for each in catalog.products.find({}, ["_id"]))
    found = manifest(catalog)
    assert found["complete"] is True
    assert (found["rows"], len(ids)) == (count, count)
    assert found["sha256"] == hashlib.sha256("".join(ids).encode()).hexdigest()
    return found


def test_a_product() -> None:
    """Numbers become numbers, a missing description an empty one, a missing label none; texts stay as they are."""
    made = product(listing(designation="  Vase é ", description=None, prdtypecode=None, productid="12.0"))
    assert made == {
        "_id": listing(designation="  Vase é ", description=None, prdtypecode=None, productid="12.0")["_id"],
        "productid": 12, "imageid": 1263597046, "designation": "  Vase é ", "description": "", "prdtypecode": None,
    }  # fmt: skip
    assert product(listing(prdtypecode=""))["prdtypecode"] is None
    assert {product(listing(prdtypecode=str(code)))["prdtypecode"] for code in CATEGORIES} == CATEGORIES
    assert len(CATEGORIES) == 27


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"designation": None}, ["designation: missing"]),
        ({"designation": " \n\u00a0"}, ["designation: missing"]),
        ({"productid": "12.5"}, ["productid: '12.5' is not a whole number"]),
        ({"productid": "-1"}, ["productid: '-1' is not a whole number"]),
        ({"productid": str(2**63)}, ["productid: '9223372036854775808' is not a whole number"]),
        ({"imageid": "1_000"}, ["imageid: '1_000' is not a whole number"]),
        ({"imageid": "٣"}, ["imageid: '٣' is not a whole number"]),
        ({"prdtypecode": "9999"}, ["prdtypecode: '9999' is not one of the 27 categories"]),
        ({"prdtypecode": "toys"}, ["prdtypecode: 'toys' is not a whole number"]),
        (
            {"designation": "", "productid": "", "imageid": None, "prdtypecode": "1"},
            [
                "productid: missing",
                "imageid: missing",
                "designation: missing",
                "prdtypecode: '1' is not one of the 27 categories",
            ],
        ),
        ({"productid": "x" * 1_000_000}, ["productid: '" + "x" * 56 + "... is not a whole number"]),
    ],
)
def test_reasons(changes: dict[str, Any], reasons: list[str]) -> None:
    """A listing that is no product is rejected with every reason, in short words."""
    with pytest.raises(RejectedError) as caught:
        product(listing(**changes))
    assert caught.value.reasons == reasons


def test_products_and_rejects(run: Run, mongodb_uri: str, catalog: Database[Document]) -> None:
    """Valid listings become products, the others are kept with their reasons and fields; again, nothing changes."""
    good, twin = listing(), listing(designation="Vase rouge")
    untitled = listing(designation="", prdtypecode="7")
    surplus = {**listing(designation="a"), "surplus": ["x"]}
    catalog.raw_products.insert_many([good, twin, untitled, surplus])
    done = run("data.transform", MONGODB_URI=mongodb_uri)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"4 rows in | 2 products (2 new) | 2 rejected → {catalog.name}.products\n"
    assert done.stderr == "products with the productid of another one: 1\n"
    found = check(catalog, 2)
    assert (found["rejected"], found["shared_productids"]) == (2, 1)
    assert abs(found["completed_at"].replace(tzinfo=UTC) - datetime.now(UTC)) < timedelta(minutes=1)
    assert catalog.products.find_one({"_id": good["_id"]}) == product(good)
    rejects = {each["_id"]: each for each in catalog.rejected_products.find()}
    reasons = ["designation: missing", "prdtypecode: '7' is not one of the 27 categories"]
    assert rejects[untitled["_id"]] == {**untitled, "reasons": reasons}
    assert rejects[surplus["_id"]]["reasons"] == ["the row has more values than there are columns"]
    again = run("data.transform", MONGODB_URI=mongodb_uri)
    assert again.stdout == f"4 rows in | 2 products (0 new) | 2 rejected → {catalog.name}.products\n"
    assert manifest(catalog) == found


def test_rows_of_a_csv(run: Run, mongodb_uri: str, catalog: Database[Document], tmp_path: Path) -> None:
    """What is wrong with a row of a CSV is told of the row alone; a long one and a broken one arrive."""
    long = "z" * 1_000_000
    file = tmp_path / "X.csv"
    file.write_bytes(
        b"index,designation,description,productid,imageid\n0,Vase,,1,2\n1,,text,3,4\n2,Lampe,a, b,5,6\n3,Table\n"
        b"4,Caf\xe9,,7,8\n5,Lit," + long.encode() + b",9,10\n"
    )
    assert run("data.extract", MONGODB_URI=mongodb_uri, LISTINGS_CSV=file).returncode == 0
    done = run("data.transform", MONGODB_URI=mongodb_uri)
    assert "6 rows in | 3 products (3 new) | 3 rejected" in done.stdout
    texts = {each["designation"]: each["description"] for each in catalog.products.find()}
    assert texts == {"Vase": "", "Caf\ufffd": "", "Lit": long}
    rejected = {each["row"]: each["reasons"] for each in catalog.rejected_products.find()}
    assert rejected == {
        1: ["designation: missing"],
        2: ["productid: ' b' is not a whole number", "the row has more values than there are columns"],
        3: ["productid: missing", "imageid: missing"],
    }


def test_without_listings(run: Run, mongodb_uri: str, catalog: Database[Document]) -> None:
    """An empty collection is an error that says what to run first, and nothing is written."""
    done = run("data.transform", MONGODB_URI=mongodb_uri)
    told = f"error: {catalog.name}.raw_products is empty: run extract first (docker compose up extract)\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", told)
    assert catalog.list_collection_names() == []


def test_more_listings(run: Run, mongodb_uri: str, catalog: Database[Document]) -> None:
    """New listings are added to the products that are there, whose manifest is written anew."""
    fill(catalog, 300)
    run("data.transform", MONGODB_URI=mongodb_uri)
    first = check(catalog, 300)
    run("data.extract", MONGODB_URI=mongodb_uri, LISTINGS=420)
    done = run("data.transform", MONGODB_URI=mongodb_uri)
    assert "420 rows in | 420 products (120 new)" in done.stdout
    assert check(catalog, 420)["sha256"] != first["sha256"]


def test_other_rules(run: Run, mongodb_uri: str, catalog: Database[Document]) -> None:
    """Products that an older version made by other rules are made anew."""
    fill(catalog, 20)
    catalog.products.insert_one({"_id": "0" * 64, "productid": 1})
    catalog.rejected_products.insert_one({"_id": "1" * 64, "reasons": ["of old"]})
    catalog.manifests.insert_one({"_id": "products", "complete": True, "rules": 0, "rows": 1})
    done = run("data.transform", MONGODB_URI=mongodb_uri)
    assert "20 products (20 new) | 0 rejected" in done.stdout
    check(catalog, 20)


def test_two_at_once(start: Start, mongodb_uri: str, catalog: Database[Document]) -> None:
    """Two transformers give each product once, and a manifest that is true."""
    fill(catalog, 1_500)
    both = [start("data.transform", MONGODB_URI=mongodb_uri) for _ in range(2)]
    for process in both:
        process.communicate(timeout=60)
    assert [process.returncode for process in both] == [0, 0]
    check(catalog, 1_500)


def test_killed_in_the_middle(
    start: Start, run: Run, relay: MakeRelay, mongodb_uri: str, catalog: Database[Document]
) -> None:
    """Killed while it adds, it leaves a manifest that says so; the next run completes the work."""
    fill(catalog, 2_000)
    way, uri = relay(hold_after=2_000_000)
    process = start("data.transform", MONGODB_URI=uri)
    assert way.reached.wait(30)
    process.kill()
    process.wait()
    assert manifest(catalog)["complete"] is False
    assert 0 < catalog.products.count_documents({}) < 2_000
    done = run("data.transform", MONGODB_URI=mongodb_uri)
    assert "2,000 rows in | 2,000 products" in done.stdout
    check(catalog, 2_000)


def test_killed_before_its_manifest(run: Run, mongodb_uri: str, catalog: Database[Document]) -> None:
    """Killed when all products were in and the manifest was not, the next run writes it."""
    fill(catalog, 50)
    run("data.transform", MONGODB_URI=mongodb_uri)
    before = manifest(catalog)
    catalog.manifests.update_one({"_id": "products"}, {"$set": {"complete": False, "opened_by": "another"}})
    done = run("data.transform", MONGODB_URI=mongodb_uri)
    assert "50 products (0 new)" in done.stdout
    assert check(catalog, 50)["sha256"] == before["sha256"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM that a process can handle")
def test_stopped_in_the_middle(start: Start, relay: MakeRelay, catalog: Database[Document]) -> None:
    """SIGTERM ends it within a second or two, also while the server does not answer."""
    fill(catalog, 2_000)
    way, uri = relay(hold_after=1_000_000)
    process = start("data.transform", MONGODB_URI=uri)
    assert way.reached.wait(30)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=30)
    assert time.monotonic() - began < 3
    assert (process.returncode, told) == (143, "stopped by SIGTERM: what is in stays, run it again for the rest\n")


@pytest.mark.parametrize("after", [400_000, 2_000_000], ids=["while-reading", "while-adding"])
def test_a_server_that_comes_back(start: Start, relay: MakeRelay, catalog: Database[Document], after: int) -> None:
    """When the connection is lost, it waits and goes on behind the last listing: nothing is lost or doubled."""
    fill(catalog, 2_000)
    way, uri = relay(cut_after=after)
    process = start("data.transform", MONGODB_URI=uri)
    assert process.stderr is not None
    assert process.stderr.readline() == f"waiting for MongoDB on {way.address}, 30 s at most\n"
    way.mend()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert said.startswith("2,000 rows in | 2,000 products")
    check(catalog, 2_000)


def test_a_server_that_stays_away(run: Run, relay: MakeRelay, mongodb_uri: str, catalog: Database[Document]) -> None:
    """It waits a bounded time and ends with one line; the manifest stays incomplete until a run completes the work."""
    fill(catalog, 2_000)
    way, uri = relay(cut_after=2_000_000)
    done = run("data.transform", MONGODB_URI=uri, MONGODB_WAIT=1)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"error: cannot reach MongoDB on {way.address} for 1 s: start it" in done.stderr
    assert manifest(catalog)["complete"] is False
    assert run("data.transform", MONGODB_URI=mongodb_uri).returncode == 0
    check(catalog, 2_000)


@pytest.mark.real_data
def test_the_real_rows(run: Run, mongodb_uri: str, catalog: Database[Document], real_listings: Path) -> None:
    """Every real row is a product with its category."""
    files = {"LISTINGS_CSV": real_listings / "X_train.csv", "LABELS_CSV": real_listings / "Y_train.csv"}
    run("data.extract", MONGODB_URI=mongodb_uri, **files)
    done = run("data.transform", MONGODB_URI=mongodb_uri)
    assert "3,000 rows in | 3,000 products (3,000 new) | 0 rejected" in done.stdout
    check(catalog, 3_000)
    assert set(catalog.products.distinct("prdtypecode")) == CATEGORIES
