"""Cleaning against what people write instead: pandas' apply, BeautifulSoup and two regular expressions.

    GIGOGNE_REAL_DATA=… python benchmarks/cleaning.py --rounds 10 --memory

Each contender is a process that has its rows in memory, cleans them and drops the doubled ones; ours also writes the
Parquet file. Their own clocks count from there, and seconds are given for a million rows: pandas cleans fewer. Our
processes start within our seconds. The rows are generated ones, and the real ones where GIGOGNE_REAL_DATA names their
folder: over and over, each time with another number in the title.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.paired import Seconds, child, machine, measure  # noqa: E402

from etl import parquet  # noqa: E402
from etl.rows import Row, Tally, cleaner, in_chunks  # noqa: E402

MILLION = 1_000_000
MEMORY_ROWS = (100_000, MILLION)


def main() -> None:
    """Make the rows, measure, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--rounds", type=int, default=10)
    options.add_argument("--rows", type=int, default=200_000, help="that ours cleans a round")
    options.add_argument("--slow-rows", type=int, default=10_000, help="that pandas cleans a round")
    options.add_argument("--memory", action="store_true", help="also the memory at 100k and 1M rows")
    options.add_argument("--folder", type=Path, help="where the rows are kept for another time")
    options.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.child:
        work(*given.child)
        return
    with tempfile.TemporaryDirectory() as empty:
        most = max([given.rows, *MEMORY_ROWS] if given.memory else [given.rows])
        for name, file in sources(given.folder or Path(empty), most):
            print(f"\n## {name}\n\n{machine()}; {given.rows:,} rows, pandas {given.slow_rows:,}\n", flush=True)
            # On one core processor time is what a quiet machine's clock shows; on two only the clock tells.
            for cores, clock in ((1, "processor"), (2, "wall")):
                mine = f"cleaning, cores: {cores}, {clock} time"
                contenders = {
                    "pandas, BeautifulSoup": contender(f"usual {clock}", file, given.slow_rows, cores),
                    mine: contender(f"ours {clock}", file, given.rows, cores),
                }
                print(measure(contenders, given.rounds, warm_up=False).table(mine), flush=True)
            if given.memory:
                memory(file)


def memory(file: Path) -> None:
    """The largest resident memory, of one process and of three, as the rows grow; here they stream."""
    print("\n| rows | processes | seconds | peak resident memory of the first, of the largest other |")
    print("|---|---|---|---|")
    for rows, workers in itertools.product(MEMORY_ROWS, (1, 2)):
        output = child([sys.executable, __file__, "--child", "stream", str(file), str(rows), str(workers)]).output
        print(f"| {rows:,} | {workers if workers == 1 else workers + 1} | {output.strip()} |", flush=True)


def contender(what: str, file: Path, rows: int, cores: int) -> Callable[[], Seconds]:
    """A child process, and its seconds for a million rows."""
    arguments = [sys.executable, __file__, "--child", what, str(file), str(rows), str(cores)]
    return lambda: Seconds(float(child(arguments).output) * MILLION / rows)


def work(what: str, file: str, rows: str, cores: str) -> None:
    """What a child does: it prints its seconds."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
    some = itertools.islice(read(Path(file)), int(rows))
    begin = time.perf_counter()
    if what == "stream":
        ours(some, int(cores))
        kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        peaks = [resource.getrusage(kind).ru_maxrss // 1024 for kind in kinds]
        print(f"{time.perf_counter() - begin:.1f} s | {peaks[0]} MiB, {peaks[1]} MiB")
        return
    kept = list(some)
    contestant, clock = what.split()
    job = usual(kept) if contestant == "usual" else lambda: ours(iter(kept), int(cores))
    read_clock = time.process_time if clock == "processor" else time.perf_counter
    begin = read_clock()
    job()
    print(read_clock() - begin)


def ours(rows: Iterator[Row], workers: int) -> None:
    """What the module does with rows that it has read."""
    with tempfile.TemporaryFile() as file, cleaner(workers) as each:
        parquet.write(each.clean(in_chunks(rows), Tally()), file)


def usual(rows: list[Row]) -> Callable[[], None]:
    """What people write; without writing it to a file."""
    import pandas
    from bs4 import BeautifulSoup

    frame = pandas.DataFrame(rows, columns=list("pidtc"))

    def clean(text: str) -> str:
        text = BeautifulSoup(text, "html.parser").get_text(" ")
        text = re.sub(r"[^\w\s]", " ", text)
        return re.sub(r"\s+", " ", text).strip().lower()

    def job() -> None:
        for column in "dt":
            frame[column] = frame[column].apply(clean)
        frame.drop_duplicates(["d", "t"])

    return job


def read(file: Path) -> Iterator[Row]:
    """The rows of a file, as products have them."""
    csv.field_size_limit(2**30)
    with file.open(newline="", encoding="utf-8") as opened:
        for number, image, designation, description in csv.reader(opened):
            yield int(number), int(image), designation, description, None


def sources(folder: Path, rows: int) -> Iterator[tuple[str, Path]]:
    """What is cleaned: files of so many rows."""
    if "GIGOGNE_REAL_DATA" in os.environ:
        yield "The real rows", write(folder / f"real-{rows}.csv", real(rows))
    from data.generator import Generator

    generator = Generator(42)
    yield "Generated rows", write(folder / f"generated-{rows}.csv", map(generator.listing, range(rows)))


def real(rows: int) -> Iterator[dict[str, str | None]]:
    """The real rows over and over, numbered."""
    file = Path(os.environ["GIGOGNE_REAL_DATA"]) / "catalog" / "X_train.csv"
    with file.open(newline="", encoding="utf-8") as opened:
        listings = list(csv.DictReader(opened))
    for number, each in enumerate(itertools.islice(itertools.cycle(listings), rows)):
        yield {**each, "designation": f"{each['designation']} {number // len(listings)}"}


def write(file: Path, listings: Iterator[dict[str, str | None]]) -> Path:
    """The listings in a file, if it is not there."""
    if not file.exists():
        with file.with_suffix(".part").open("w", newline="", encoding="utf-8", errors="replace") as opened:
            writer = csv.writer(opened)
            for each in listings:
                writer.writerow([each["productid"], each["imageid"], each["designation"], each["description"] or ""])
        file.with_suffix(".part").rename(file)
    return file


if __name__ == "__main__":
    main()
