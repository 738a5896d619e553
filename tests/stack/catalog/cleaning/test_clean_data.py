"""Cleaning, run as users run it, against a real S3 and the stand-in for MongoDB."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from pymongo.database import Database
from tests.conftest import REPOSITORY, Workspace
from tests.stack.catalog.conftest import Document

from catalog.text import SPECIFICATION
from etl.rows import ROWS_IN_CHUNK, Rows, Tally, cleaner, in_chunks

from .conftest import BUCKET, MODULE, Clean, Target, fill, key, noise

Start = Callable[..., "subprocess.Popen[str]"]


def test_products_become_a_parquet_file_that_the_manifest_names(
    clean: Clean, catalog: Database[Document], target: Target
) -> None:
    """Cleaned rows: labelled ones first, in the order of their ids; of equal ones the first stays; all is counted."""
    fill(
        catalog, [("<b>A</b>", "x&amp;<br>y"), ("&nbsp;", "<!-- -->"), ("a", " X&amp;\nY "), ("Été", ""), ("<i>", "d")]
    )
    done = clean()
    assert (done.returncode, done.stderr) == (0, "")
    assert target.rows() == [
        (4_000_000_000, 0, "a", "x& y", 2583),
        (4_000_000_003, 3, "été", "", 2583),
        (4_000_000_004, 4, "", "d", 2583),
    ]
    manifest = target.manifest()
    assert manifest["rows_in"] == 5
    assert manifest["rows_out"] == 3
    assert manifest["rejected"] == {"duplicate": 1, "empty": 1}
    assert manifest["specification"] == SPECIFICATION
    stored = catalog["manifests"].find_one()
    assert stored
    assert manifest["source"] == {"sha256": stored["sha256"], "rows": 5}
    assert done.stdout.startswith(f"5 rows in | 3 out | 2 rejected (1 duplicate, 1 empty) → {manifest['object']} (")


def test_a_label_that_came_later_stays(clean: Clean, catalog: Database[Document], target: Target) -> None:
    """Listings were read without labels, then with them: whatever their ids, each stays once, with its label."""
    fill(catalog, [(f"title {number // 2}", "") for number in range(2_000)])
    catalog["products"].update_many({}, {"$set": {"prdtypecode": 10}})
    # The id of every second pair's unlabelled listing comes first, that of the others' second.
    bare = [key(number) for number in range(2_000) if number % 4 in (0, 3)]
    catalog["products"].update_many({"_id": {"$in": bare}}, {"$set": {"prdtypecode": None}})
    done = clean()
    assert done.returncode == 0, done.stderr
    assert "2,000 rows in | 1,000 out | 1,000 rejected (1,000 duplicate, 0 empty)" in done.stdout
    assert {row[4] for row in target.rows()} == {10}


def test_a_second_run_changes_nothing(clean: Clean, catalog: Database[Document], target: Target) -> None:
    """The same products give the same objects, which stay as they are; other ones a new object beside the old one."""
    fill(catalog, [("a", "b"), ("c", "d"), ("e", "f")])
    assert clean().returncode == 0
    names, manifest = target.names(), target.read("manifest.json")
    done = clean()
    assert done.stdout.endswith(", unchanged\n")
    assert (target.names(), target.read("manifest.json")) == (names, manifest)
    catalog["products"].delete_many({})
    fill(catalog, [("a", "b"), ("c", "d")])
    assert "unchanged" not in clean().stdout
    assert len(target.rows()) == 2
    assert len(target.names()) == 3


def test_a_lost_object_is_put_again(clean: Clean, catalog: Database[Document], target: Target) -> None:
    """A manifest that cannot be read and an object that is gone are made good by the next run."""
    fill(catalog, [("a", "b")])
    assert clean().returncode == 0
    target.client.delete_object(Bucket=BUCKET, Key=f"{target.folder}/{target.names()[1]}")
    target.client.put_object(Bucket=BUCKET, Key=f"{target.folder}/manifest.json", Body=b"{")
    assert clean().returncode == 0
    assert len(target.rows()) == 1


def test_the_bytes_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    """One, two and three processes write the same file, duplicates across chunks included."""
    from etl import parquet

    rows = [(n, n, f"<b>T</b>{n % 4_000}", "<p>é&amp;" * (n % 50), None) for n in range(3 * ROWS_IN_CHUNK + 7)]
    written = []
    for workers in (1, 2, 3):
        tally = Tally()
        with (tmp_path / str(workers)).open("wb") as file, cleaner(workers) as each:
            parquet.write(each.clean(in_chunks(rows), tally), file)
        written.append(((tmp_path / str(workers)).read_bytes(), tally))
    assert written[0] == written[1] == written[2]
    assert written[0][1].rows == len(rows)
    assert written[0][1].kept == 4_000


def test_groups_end_by_their_size_too() -> None:
    """Of long texts a group of little is written before the next ones are taken; of short ones 20,000 rows are."""
    from etl import parquet

    file, chance = io.BytesIO(), random.Random(42)
    held: list[int] = []

    def chunks(count: int, characters: int) -> Iterator[Rows]:
        for number in range(count):
            # Half of its bytes is what zstd makes of text in hexadecimal.
            held.append(number * 4 * characters // 2 - file.tell())
            texts = [chance.randbytes(characters // 2).hex() for _ in range(4)]
            yield Rows([number] * 4, [number] * 4, ["t"] * 4, texts, [None] * 4)

    parquet.write(chunks(40, 1_000_000), file)
    assert file.tell() > 75_000_000
    assert max(held) < parquet.CHARACTERS_IN_GROUP


def test_large_descriptions(clean: Clean, catalog: Database[Document], target: Target) -> None:
    """A description of a million characters is a row like any other, hostile or not."""
    large = ["<" * 1_000_000, "é<br>" * 200_000, "&" * 1_000_000, "\u0315\u0300" * 500_000, "<!--" * 250_000]
    fill(catalog, [("title", text) for text in large])
    done = clean()
    assert done.returncode == 0, done.stderr
    assert [len(row[3]) for row in target.rows()] == [1_000_000, 399_999, 30, 0, 1_000_000]


def test_it_waits_for_transform(
    start: Start, variables: dict[str, object], catalog: Database[Document], target: Target
) -> None:
    """While transform adds products, cleaning waits; when they are complete, it goes on."""
    fill(catalog, [("a", "b")], complete=False)
    process = start(MODULE, **{**variables, "CLEANING_WAIT": 30})
    assert process.stderr is not None
    assert process.stderr.readline() == "waiting up to 30 s for transform to complete its products …\n"
    catalog["manifests"].update_one({}, {"$set": {"complete": True}})
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert out.startswith("1 rows in | 1 out")
    assert len(target.rows()) == 1


def test_the_service_as_people_type_it(
    way: str, workspace: Workspace, variables: dict[str, object], catalog: Database[Document], target: Target
) -> None:
    """The Dockerfile's `python src/data/clean_data.py`, in the sandbox and without, with several processes."""
    fill(catalog, noise(3_000))
    settings = {name: str(value) for name, value in variables.items() if name != "TMPDIR"}
    done = subprocess.run(
        [sys.executable, "-m", "gigogne", "-f", "docker-compose-etl.yml", "run", "cleaning"],
        cwd=REPOSITORY,
        env={**os.environ, **workspace.environment, **settings, "CLEANING_WORKERS": "2"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(target.rows()) == 3_000
    assert "3,000 rows in | 3,000 out | 0 rejected" in done.stdout + done.stderr


def test_the_service_starts_alone() -> None:
    """`docker compose up cleaning` starts cleaning and nothing else, from its own file."""
    compose = Path(sys.executable).with_name("docker-compose")
    command = [str(compose), "-f", "docker-compose-etl.yml", "config", "--format", "json"]
    found = json.loads(subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True).stdout)
    assert list(found["services"]) == ["cleaning"]
    assert "depends_on" not in found["services"]["cleaning"]
    assert found["services"]["cleaning"]["image"] == "mlops-rakuten/clean-data:latest"
