"""The extractor, run as users run it: listings out of CSVs or out of a seed, into a real MongoDB, whatever happens."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database
from tests.stack.catalog.conftest import Document, Relay
from tests.stack.conftest import SOURCES, Run, environment

from data.generator import Generator
from data.listings import document

Start = Callable[..., "subprocess.Popen[str]"]
MakeRelay = Callable[..., tuple[Relay, str]]
HEADER = ("", "designation", "description", "productid", "imageid")
LABELS = ("", "prdtypecode")
PASSWORD = "p%40ss%2Fw%3Ard"


def write(path: Path, header: Sequence[object], *rows: Sequence[object]) -> Path:
    """A CSV as data frames write it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def raw(catalog: Database[Document]) -> list[Document]:
    """What is in, in the order of the rows."""
    return list(catalog.raw_products.find().sort("row", 1))


def expected(count: int) -> set[str]:
    """The identities of the generated listings."""
    generator = Generator(42)
    return {document(generator.listing(number), "generator", number)["_id"] for number in range(count)}


def refused(run: Run, catalog: Database[Document], uri: str, **files: Path) -> str:
    """The one line by which files are refused, of which then nothing is in."""
    done = run("data.extract", MONGODB_URI=uri, **files)
    assert (done.returncode, done.stdout) == (1, "")
    assert catalog.list_collection_names() == []
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    return done.stderr


def test_generated_listings(run: Run, mongodb_uri: str, catalog: Database[Document]) -> None:
    """Listings of a seed go in as they are; again, nothing is added; more of them add what is new."""
    name = catalog.name
    first = run("data.extract", MONGODB_URI=mongodb_uri, LISTINGS=200)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == f"200 rows in | 200 added | 0 already there → {name}.raw_products\n"
    before = raw(catalog)
    assert before[7] == document(Generator(42).listing(7), "generator", 7)
    again = run("data.extract", MONGODB_URI=mongodb_uri, LISTINGS=200)
    assert again.stdout == f"200 rows in | 0 added | 200 already there → {name}.raw_products\n"
    assert raw(catalog) == before
    more = run("data.extract", MONGODB_URI=mongodb_uri, LISTINGS=1_300)
    assert more.stdout == f"1,300 rows in | 1,100 added | 200 already there → {name}.raw_products\n"


def test_a_csv_with_its_labels(run: Run, mongodb_uri: str, catalog: Database[Document], tmp_path: Path) -> None:
    """Quotes, commas and line ends within fields arrive as they were; labels are joined by the index."""
    hostile = 'Un "grand",\r\nvase\nà fleurs; <b>é</b>'
    x = write(tmp_path / "X.csv", HEADER, (0, "a", hostile, 11, 21), (2, "b", "", 12, 22), (3, "c", "d", 13, 23))
    y = write(tmp_path / "Y.csv", LABELS, (0, 10), (3, 2583))
    done = run("data.extract", MONGODB_URI=mongodb_uri, LISTINGS_CSV=x, LABELS_CSV=y)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "rows without a label: 1 of 3\n"
    first, second, third = raw(catalog)
    assert len(first.pop("_id")) == 64
    assert first == {
        "index": "0", "designation": "a", "description": hostile, "productid": "11", "imageid": "21",
        "prdtypecode": "10", "source": "X.csv", "row": 0,
    }  # fmt: skip
    assert (second["prdtypecode"], third["prdtypecode"]) == (None, "2583")
    again = run("data.extract", MONGODB_URI=mongodb_uri, LISTINGS_CSV=x, LABELS_CSV=y)
    assert "3 rows in | 0 added" in again.stdout


def test_a_listing_is_told_by_what_it_says(
    run: Run, mongodb_uri: str, catalog: Database[Document], tmp_path: Path
) -> None:
    """The same row twice, or in another file, is one; another productid or another label makes it another."""
    rows = [("t", "d", 1, 2), ("t", "d", 1, 2), ("t", "d", 3, 2), ("td", "", 1, 2)]
    run("data.extract", MONGODB_URI=mongodb_uri, LISTINGS_CSV=write(tmp_path / "a.csv", HEADER[1:], *rows))
    assert catalog.raw_products.count_documents({}) == 3
    labelled = write(tmp_path / "b.csv", (*HEADER[1:], "prdtypecode"), (*rows[0], 10), (*rows[2], ""))
    done = run("data.extract", MONGODB_URI=mongodb_uri, LISTINGS_CSV=labelled)
    assert "2 rows in | 2 added | 0 already there" in done.stdout
    assert catalog.raw_products.count_documents({"prdtypecode": "10"}) == 1


def test_rows_from_elsewhere_are_told(run: Run, mongodb_uri: str, catalog: Database[Document], tmp_path: Path) -> None:
    """Of listings that were there from another source their number is said; the file has its name of outside."""
    run("data.extract", MONGODB_URI=mongodb_uri, LISTINGS=20)
    mounted = {"LISTINGS_CSV": write(tmp_path / "listings.csv", HEADER[1:], ("t", "d", 1, 2))}
    done = run("data.extract", MONGODB_URI=mongodb_uri, LISTINGS_NAME="C:\\data\\X.csv", **mounted)
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1].startswith("20 rows of generator are there too, and become products: to be wi")
    assert catalog.raw_products.count_documents({"source": "X.csv"}) == 1
    again = run("data.extract", MONGODB_URI=mongodb_uri, LISTINGS=20)
    assert again.stderr.startswith("1 rows of X.csv are there too")


def test_a_file_is_named_as_outside(run: Run, mongodb_uri: str, catalog: Database[Document], tmp_path: Path) -> None:
    """An error names the files as their user does, not as a container has them."""
    x, y = (
        write(tmp_path / "listings.csv", HEADER, (0, "t", "d", 1, 2)),
        write(tmp_path / "labels.csv", LABELS, (7, 10)),
    )
    names: dict[str, Any] = {"LISTINGS_NAME": "~/X.csv", "LABELS_NAME": "~/Y.csv"}
    told = refused(run, catalog, mongodb_uri, LISTINGS_CSV=x, LABELS_CSV=y, **names)
    assert "of LABELS_CSV ~/Y.csv has the index '7', which is not in LISTINGS_CSV ~/X.csv" in told
    assert str(tmp_path) not in told


def test_broken_text_is_replaced_and_said(
    run: Run, mongodb_uri: str, catalog: Database[Document], tmp_path: Path
) -> None:
    """Bytes that are not UTF-8 become U+FFFD, are counted, and the rest goes in; a byte order mark is none of it."""
    file = tmp_path / "X.csv"
    header = b"\xef\xbb\xbf,designation,description,productid,imageid\n"
    file.write_bytes(header + b"0,Caf\xe9,\xff\xfe,1,2\n1,caf\xc3\xa9 \xef\xbf\xbd,,3,4\n")
    done = run("data.extract", MONGODB_URI=mongodb_uri, LISTINGS_CSV=file)
    assert done.returncode == 0
    assert done.stderr.splitlines()[0] == "rows with bytes that are not UTF-8: 1 (U+FFFD stands for them)"
    assert [(each["designation"], each["description"]) for each in raw(catalog)] == [
        ("Caf\ufffd", "\ufffd\ufffd"),
        ("café \ufffd", ""),
    ]


def test_long_descriptions_are_kept(run: Run, mongodb_uri: str, catalog: Database[Document], tmp_path: Path) -> None:
    """Descriptions of a megabyte go in whole, and several of them."""
    long = "é <p>" * 250_000
    rows = [(number, "t", long, number, 1) for number in range(9)]
    done = run("data.extract", MONGODB_URI=mongodb_uri, LISTINGS_CSV=write(tmp_path / "X.csv", HEADER, *rows))
    assert done.returncode == 0, done.stderr
    assert catalog.raw_products.count_documents({}) == 9
    found = catalog.raw_products.find_one({"row": 8})
    assert found is not None
    assert found["description"] == long


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "LISTINGS_CSV {} is empty: it wants the columns designation, description, productid, imageid"),
        (",designation,description,productid,imageid\n", "LISTINGS_CSV {} holds no rows: name a file with listings"),
        (
            "index;designation;description;productid;imageid\n1;a;b;2;3\n",
            "has the columns index;designation;description;productid;imageid; it wants designation, description, "
            "productid, imageid: missing or double is designation, description, productid, imageid",
        ),
        ("designation,titre,productid,imageid,imageid\na,b,1,2,3\n", "missing or double is description, imageid"),
        (
            'designation,description,productid,imageid\na,b,1,2\nc,"d,3,4\n' + "e,f,5,6\n" * 5,
            "{} is no CSV that can be read: unexpected end of data, in the row that begins on line 3; is a quote not "
            "closed there?",
        ),
        (
            'designation,description,productid,imageid\na,"' + "x" * 2_000_001 + '",1,2\n',
            "field larger than field limit (2000000), in the row that begins on line 2",
        ),
    ],
    ids=["empty", "no-rows", "semicolons", "double-column", "open-quote", "endless-field"],
)
def test_a_wrong_file_is_refused_before_anything_is_written(
    run: Run, mongodb_uri: str, catalog: Database[Document], tmp_path: Path, content: str, told: str
) -> None:
    """The error names the file, what was found and what is wanted; the good rows before it are not in either."""
    file = tmp_path / "X.csv"
    file.write_text(content, encoding="utf-8")
    assert told.format(file) in refused(run, catalog, mongodb_uri, LISTINGS_CSV=file)


def test_a_file_that_cannot_be_read(run: Run, mongodb_uri: str, catalog: Database[Document], tmp_path: Path) -> None:
    """A file that is not there, or is a directory, is named with its variable."""
    missing = refused(run, catalog, mongodb_uri, LISTINGS_CSV=tmp_path / "no.csv")
    assert f"cannot read LISTINGS_CSV {tmp_path / 'no.csv'}: No such file or directory" in missing
    x = write(tmp_path / "X.csv", HEADER, (0, "a", "b", 1, 2))
    assert f"cannot read LABELS_CSV {tmp_path}:" in refused(
        run, catalog, mongodb_uri, LISTINGS_CSV=x, LABELS_CSV=tmp_path
    )


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([(0, 10), (1, 10), (7, 10)], "line 4 of LABELS_CSV {} has the index '7', which is not in LISTINGS_CSV"),
        ([(1, 10), (0, 10)], "line 3 of LABELS_CSV {} has the index '0', which is not in LISTINGS_CSV"),
        ([], "LABELS_CSV {} has the columns label; it wants prdtypecode: missing or double is prdtypecode"),
    ],
    ids=["other-rows", "other-order", "other-columns"],
)
def test_labels_of_other_listings_are_refused(
    run: Run,
    mongodb_uri: str,
    catalog: Database[Document],
    tmp_path: Path,
    rows: list[tuple[int, int]],
    told: str,
) -> None:
    """Labels whose index is not in the listings, or not in their order, are refused before anything is written."""
    x = write(tmp_path / "X.csv", HEADER, (0, "a", "b", 1, 2), (1, "c", "d", 3, 4))
    y = write(tmp_path / "Y.csv", LABELS if rows else ("label",), *rows)
    assert told.format(y) in refused(run, catalog, mongodb_uri, LISTINGS_CSV=x, LABELS_CSV=y)


def test_two_at_once(start: Start, mongodb_uri: str, catalog: Database[Document]) -> None:
    """Two extractors on the same listings put each in once."""
    both = [start("data.extract", MONGODB_URI=mongodb_uri, LISTINGS=1_500) for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum(int(line.split(" | ")[1].split()[0].replace(",", "")) for line in said) == 1_500
    assert {each["_id"] for each in raw(catalog)} == expected(1_500)


def test_killed_in_the_middle(
    start: Start, run: Run, relay: MakeRelay, mongodb_uri: str, catalog: Database[Document]
) -> None:
    """Killed while a batch is on its way, and run again, it gives the same as if it had never been killed."""
    way, uri = relay(hold_after=1_000_000)
    process = start("data.extract", MONGODB_URI=uri, LISTINGS=2_300)
    assert way.reached.wait(30)
    process.kill()
    process.wait()
    assert 0 < catalog.raw_products.count_documents({}) < 2_300
    assert run("data.extract", MONGODB_URI=mongodb_uri, LISTINGS=2_300).returncode == 0
    assert {each["_id"] for each in raw(catalog)} == expected(2_300)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM that a process can handle")
def test_stopped_in_the_middle(start: Start, relay: MakeRelay) -> None:
    """SIGTERM ends it within a second or two, also while the server does not answer."""
    way, uri = relay(hold_after=1_000_000)
    process = start("data.extract", MONGODB_URI=uri, LISTINGS=2_300)
    assert way.reached.wait(30)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=30)
    assert time.monotonic() - began < 3
    assert (process.returncode, told) == (143, "stopped by SIGTERM: what is in stays, run it again for the rest\n")


def test_a_server_that_comes_back(start: Start, relay: MakeRelay, catalog: Database[Document]) -> None:
    """When the connection is lost in the middle, it says so, waits, and goes on: nothing is lost or doubled."""
    way, uri = relay(cut_after=1_000_000)
    process = start("data.extract", MONGODB_URI=uri, LISTINGS=2_300)
    assert process.stderr is not None
    told = process.stderr.readline()
    assert told == f"waiting for MongoDB on {way.address}, 30 s at most\n"
    assert catalog.raw_products.count_documents({}) < 2_300
    way.mend()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert {each["_id"] for each in raw(catalog)} == expected(2_300)


def test_a_server_that_stays_away(run: Run, relay: MakeRelay, mongodb_uri: str, catalog: Database[Document]) -> None:
    """It waits a bounded time, ends with one line that says what to do, and the next run completes the work."""
    way, uri = relay(cut_after=1_000_000)
    done = run("data.extract", MONGODB_URI=uri, MONGODB_WAIT=1, LISTINGS=2_300)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[1] == (
        f"error: cannot reach MongoDB on {way.address} for 1 s: start it (docker compose up -d mongodb, or gigogne up "
        "mongodb) or correct MONGODB_URI, and run this again"
    )
    assert 0 < catalog.raw_products.count_documents({}) < 2_300
    assert run("data.extract", MONGODB_URI=mongodb_uri, LISTINGS=2_300).returncode == 0
    assert {each["_id"] for each in raw(catalog)} == expected(2_300)


@pytest.mark.parametrize(
    ("uri", "code", "told"),
    [
        (
            "",
            2,
            "MONGODB_URI is not set: write MONGODB_URI=mongodb://user:password@host:27017/catalog?authSource=admin",
        ),
        ("mongodb://admin:se/c:ret@nowhere/x", 2, "percent-encode special characters of the password"),
        ("postgresql://admin:secret@nowhere/x", 2, "MONGODB_URI is not an address that MongoDB understands"),
        ("mongodb://h/x?authMechanism=SCRAM-SHA-256", 2, "MONGODB_URI is not an address that MongoDB understands"),
        (
            "mongodb://admin:secret@h/x?tls=true&tlsCAFile=/nope.pem",
            2,
            "MONGODB_URI names a file that cannot be read (No such file or directory): correct its tlsCAFile",
        ),
        ("mongodb://admin:secret@127.0.0.1:9/x", 1, "cannot reach MongoDB on 127.0.0.1:9 for 1 s: start it"),
        ("mongodb://admin:secret@{}/x?authSource=admin", 1, "refused the user or the password: correct MONGODB_URI"),
        ("mongodb://{}/x", 1, "does not let this user do it: grant the user readWrite on the database x"),
    ],
    ids=[
        "not-set",
        "not-encoded",
        "other-database",
        "no-user-for-mechanism",
        "no-such-file",
        "nobody-there",
        "wrong-password",
        "no-user",
    ],
)
def test_wrong_addresses(run: Run, mongodb_address: str, uri: str, code: int, told: str) -> None:
    """Each is told by one line, which never holds the password."""
    done = run("data.extract", MONGODB_URI=uri.format(mongodb_address), MONGODB_WAIT=1)
    last = done.stderr.splitlines()[-1]
    assert (done.returncode, done.stdout) == (code, "")
    assert told in last
    assert "secret" not in done.stderr
    assert "se/c" not in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_settings(run: Run, mongodb_uri: str) -> None:
    """A number that is none is told by its name, before the server is asked."""
    done = run("data.extract", MONGODB_URI=mongodb_uri, LISTINGS="many")
    assert (done.returncode, done.stderr) == (2, "error: LISTINGS='many' is not a whole number\n")
    done = run("data.extract", MONGODB_URI=mongodb_uri, LISTINGS=-1)
    assert done.stderr == "error: LISTINGS=-1 is too small: 0 is the least that makes sense\n"
    done = run("data.extract", MONGODB_URI=mongodb_uri, LABELS_CSV="Y.csv")
    told = "error: LABELS_CSV is set and LISTINGS_CSV is not: name the file with the listings too\n"
    assert (done.returncode, done.stderr) == (2, told)


@pytest.mark.real_data
def test_the_real_rows(run: Run, mongodb_uri: str, catalog: Database[Document], real_listings: Path) -> None:
    """All rows of the real CSVs go in, labelled, with their texts as a CSV reader sees them."""
    x, y = real_listings / "X_train.csv", real_listings / "Y_train.csv"
    done = run("data.extract", MONGODB_URI=mongodb_uri, LISTINGS_CSV=x, LABELS_CSV=y)
    assert (done.returncode, done.stderr) == (0, "")
    with x.open(encoding="utf-8", newline="") as file:
        texts = [(row["designation"], row["description"]) for row in csv.DictReader(file)]
    with y.open(encoding="utf-8", newline="") as file:
        codes = [row["prdtypecode"] for row in csv.DictReader(file)]
    found = raw(catalog)
    assert [(each["designation"], each["description"]) for each in found] == texts
    assert [each["prdtypecode"] for each in found] == codes


@pytest.mark.full
@pytest.mark.skipif(sys.platform == "win32", reason="os.wait4 is POSIX")
@pytest.mark.parametrize("module", ["data.extract", "data.transform"])
def test_memory_is_flat(mongodb_uri: str, module: str) -> None:
    """Ten times the listings take no more than a tenth more memory."""

    def peak(count: int) -> int:
        settings = environment(MONGODB_URI=mongodb_uri, LISTINGS=count)
        if module != "data.extract":
            subprocess.run([sys.executable, "-m", "data.extract"], env=settings, check=True, cwd=SOURCES)
        return _peak([sys.executable, "-m", module], settings)

    small = peak(4_000)
    assert peak(40_000) < small * 1.1


def _peak(command: list[str], settings: dict[str, Any]) -> int:
    """The most memory that a process had."""
    import os

    process = subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss
