"""The API against `mlflow models serve` and BentoML, on the same model; what its parts cost; a change of the model.

    GIGOGNE_REAL_DATA=../shared/data python benchmarks/api.py --rounds 12
    python benchmarks/api.py --parts change --rounds 20

Linux, two cores: a server has one worker and a core of its own, and whoever asks is on the other one, with the
databases; as root, both go before whatever else runs there. Storage, metrics and limits of the API are switched on.
Servers are started once and take turns of some seconds. The listings are real ones where GIGOGNE_REAL_DATA names them,
else generated; those that are asked for are not those that were learned. What the rivals need (mlflow 3, BentoML 1.4:
see serving.py) is installed into the user's cache.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.load import Load, run  # noqa: E402
from benchmarks.paired import Spread, machine  # noqa: E402
from benchmarks.serving import (  # noqa: E402
    BENTOML,
    CLIENT,
    MLFLOW,
    NOTHING,
    OURS,
    Listing,
    Server,
    Stack,
    api,
    ask,
    bentoml,
    empty,
    mlflow,
    prefer,
    stack,
)

from catalog.classifier import Classifier  # noqa: E402
from catalog.text import clean  # noqa: E402
from data.generator import Generator  # noqa: E402
from ml.dataset import Examples  # noqa: E402
from ml.fitting import fit  # noqa: E402

LEARNED, ASKED = 2_500, 500
CONNECTIONS = (1, 16)
# What the API can be measured without: api_parts.py.
PARTS = ("storage", "metrics", "limits")
Loads = Mapping[str, list[Load]]
Figure = Callable[[Load], float]
FIGURES: dict[str, tuple[Figure, int]] = {
    "requests a second": (lambda load: load.throughput, 0),
    "median, ms": (lambda load: load.percentile(50) * 1000, 2),
    "99th percentile, ms": (lambda load: load.percentile(99) * 1000, 2),
    "processor, ms a request": (lambda load: load.processor / len(load.answers) * 1000, 2),
}


def main() -> None:
    """Measure, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--parts", nargs="+", choices=MEASURES, default=list(MEASURES))
    options.add_argument("--rounds", type=int, default=12)
    options.add_argument("--seconds", type=float, default=3.0, help="of load, each server, each round")
    given = options.parse_args()
    listings, codes = read()
    before = machine()
    # The databases too stay away from the core of the servers that are measured.
    os.sched_setaffinity(0, {CLIENT})
    with tempfile.TemporaryDirectory() as place, ExitStack() as opened:
        folder = Path(place)
        train(folder, listings[:LEARNED], codes[:LEARNED])
        served = opened.enter_context(stack(folder))
        served.register()
        print(f"{machine()}; {before} before\n")
        for part in given.parts:
            MEASURES[part](served, folder, listings[LEARNED:], given.rounds, given.seconds)
        print(f"{machine()} at the end")


def read() -> tuple[list[Listing], list[int]]:
    """Listings as they are sent, and their codes."""
    if source := os.environ.get("GIGOGNE_REAL_DATA"):
        csv.field_size_limit(2**30)
        rows = list(islice(real(Path(source) / "catalog"), LEARNED + ASKED))
    else:
        rows = [Generator(7).listing(number) for number in range(LEARNED + ASKED)]
    listings = [(row["designation"] or "", row["description"] or "") for row in rows]
    return listings, [int(row["prdtypecode"] or 0) for row in rows]


def real(folder: Path) -> Iterator[dict[str, str | None]]:
    """The real listings, with their codes."""
    with (
        (folder / "X_train.csv").open(newline="", encoding="utf-8") as texts,
        (folder / "Y_train.csv").open(newline="", encoding="utf-8") as codes,
    ):
        for text, code in zip(csv.DictReader(texts), csv.DictReader(codes), strict=True):
            yield {**text, **code}


def train(folder: Path, listings: Sequence[Listing], codes: Sequence[int]) -> None:
    """Write a classifier into a folder."""
    texts = [(clean(designation), clean(description)) for designation, description in listings]
    fit(Examples(texts, list(codes)), lambda line: None)[0].save(folder)


def versus(served: Stack, folder: Path, listings: Sequence[Listing], rounds: int, seconds: float) -> None:
    """Ours against the rivals; and a server that does nothing, for what whoever asks can ask at most."""
    with ExitStack() as opened:
        started = {MLFLOW: mlflow(served, folder), BENTOML: bentoml(served, folder), OURS: api(served, folder)}
        servers = {name: opened.enter_context(each) for name, each in started.items()}
        alike(servers, listings[:50])
        servers[NOTHING] = opened.enter_context(empty(folder))
        for connections in CONNECTIONS:
            print(f"{connections} connection(s), {rounds} rounds of {seconds:g} s\n")
            print(table(measured(servers, listings, connections, rounds, seconds), MLFLOW) + "\n", flush=True)


def alike(servers: Mapping[str, Server], listings: Sequence[Listing]) -> None:
    """End the benchmark where two servers do not say the same of a listing: then they have not the same model."""
    for listing in listings:
        said = {name: server.predict(listing) for name, server in servers.items()}
        if len(set(said.values())) > 1:
            sys.exit(f"{listing[0]!r} is {said}")


def measured(
    servers: Mapping[str, Server], listings: Sequence[Listing], connections: int, rounds: int, seconds: float
) -> Loads:
    """The load on each server in each round, after one that does not count; the order is reversed every other round."""
    prefer([psutil.Process(), *(each for server in servers.values() for each in server.processes)], connections)
    requests = {name: server.requests(listings) for name, server in servers.items()}
    loads: dict[str, list[Load]] = {name: [] for name in servers}
    for number in range(-1, rounds):
        for name in list(servers) if number % 2 == 0 else list(servers)[::-1]:
            before = servers[name].processor()
            load = run(servers[name].address, requests[name], connections, seconds if number >= 0 else 1)
            load = replace(load, processor=servers[name].processor() - before)
            if load.failures:
                sys.exit(f"{name}: {len(load.failures)} requests failed: {sorted(set(load.failures))}")
            if number >= 0:
                loads[name].append(load)
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return loads


def table(loads: Loads, base: str) -> str:
    """Each figure of each server, and how many times that of one of them it is, paired by round."""
    lines = [f"| | {' | '.join(FIGURES)} |", "|---" * (1 + len(FIGURES)) + "|"]
    for name, mine in loads.items():
        cells = [spread(mine, figure).text(digits=digits) for figure, digits in FIGURES.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
        if name != base:
            cells = [ratio(mine, loads[base], figure).text() for figure, _ in FIGURES.values()]
            lines.append(f"| times that of {base}, paired | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(loads: Sequence[Load], figure: Figure) -> Spread:
    """A figure over the rounds."""
    return Spread.of([figure(load) for load in loads])


def ratio(mine: Sequence[Load], theirs: Sequence[Load], figure: Figure) -> Spread:
    """How many times a figure of the others it is, paired by round."""
    return Spread.of([figure(one) / figure(other) for one, other in zip(mine, theirs, strict=True)])


def costs(served: Stack, folder: Path, listings: Sequence[Listing], rounds: int, seconds: float) -> None:
    """The API with all of its parts, without each, and without any."""
    program = ("-m", "benchmarks.api_parts")
    lacking: dict[str, tuple[str, ...]] = {"all of it": (), **{f"without {part}": (part,) for part in PARTS}}
    lacking["with none of these"] = PARTS
    with ExitStack() as opened:
        servers = {
            name: opened.enter_context(api(served, folder, (*program, *without))) for name, without in lacking.items()
        }
        loads = measured(servers, listings, 1, rounds, seconds)
    print(
        "| 1 connection | requests a second | microseconds a request | less than all of it, paired |\n|---|---|---|---|"
    )
    for name, mine in loads.items():
        per_request = [1e6 / load.throughput for load in mine]
        whole = [1e6 / load.throughput for load in loads["all of it"]]
        saved = Spread.of([all_of_it - it for all_of_it, it in zip(whole, per_request, strict=True)])
        print(
            f"| {name} | {spread(mine, lambda load: load.throughput).text(digits=0)} | "
            f"{Spread.of(per_request).text(digits=0)} | {saved.text(digits=0) if name != 'all of it' else ''} |"
        )
    print(f"\nthe prediction alone: {alone(folder, listings).text(digits=0)} microseconds\n", flush=True)


def alone(folder: Path, listings: Sequence[Listing]) -> Spread:
    """The microseconds that a listing takes to be cleaned and judged, without any server."""
    classifier, taken = Classifier.load(folder), []
    for _ in range(10):
        begin = time.perf_counter()
        for designation, description in listings:
            classifier.predict_proba([(clean(designation), clean(description))])
        taken.append((time.perf_counter() - begin) * 1e6 / len(listings))
    return Spread.of(taken[1:])


def change(served: Stack, folder: Path, listings: Sequence[Listing], rounds: int, seconds: float) -> None:
    """The champion changes under load, back and forth: what fails, and how slow the slowest hundredth is meanwhile."""
    versions = served.register(), served.register()
    with api(served, folder) as ours:
        requests = ours.requests(listings)
        for connections in CONNECTIONS:
            prefer([psutil.Process(), *ours.processes], connections)
            usual, changing, failed = [], [], 0
            for number in range(-1, rounds):
                load, begin, end = changed(served, ours, requests, connections, versions[number % 2])
                failed += len(load.failures)
                if number >= 0:
                    changing.append(load.between(begin, end))
                    usual.append(load.between(begin - (end - begin), begin))
            print(f"{connections} connection(s): {rounds + 1} changes, {failed} failed requests")
            for name, loads in (("usual", usual), ("while it changes", changing)):
                said = spread(loads, lambda load: load.percentile(99) * 1000).text(" ms")
                print(f"99th percentile, {name}: {said} in {spread(loads, lambda load: load.seconds).text(' s')}")
            print(f"times the usual, paired: {ratio(changing, usual, lambda load: load.percentile(99)).text()}\n")


def changed(
    served: Stack, ours: Server, requests: Sequence[bytes], connections: int, version: int
) -> tuple[Load, float, float]:
    """Load in which the champion changes; when the change began, and when the API had the new one."""
    done, times = threading.Event(), []

    def promote() -> None:
        time.sleep(3)
        times.append(time.monotonic())
        served.promote(version)
        while ask(f"http://{ours.address}/model")["version"] != version:
            time.sleep(0.05)
        times.append(time.monotonic())
        done.set()

    changing = threading.Thread(target=promote)
    changing.start()
    load = run(ours.address, requests, connections, 60, done)
    changing.join()
    return load, times[0], times[1]


def start(served: Stack, folder: Path, listings: Sequence[Listing], rounds: int, seconds: float) -> None:
    """How long the API takes to be ready: its libraries imported, the champion loaded."""
    taken = []
    prefer([psutil.Process()], 1)  # what it starts inherits that
    for _ in range(rounds):
        with api(served, folder) as ours:
            ours.predict(listings[0])
            taken.append(ours.seconds)
    print(f"ready after {Spread.of(taken[1:]).text(' s')}\n")


MEASURES = {"versus": versus, "costs": costs, "change": change, "start": start}

if __name__ == "__main__":
    main()
