"""Scoring a transaction with its card's past from PostgreSQL, against what one writes first: fraud_plain.py.

    python benchmarks/fraud_scoring.py --rounds 12

Linux, two cores: each server has one worker and a core of its own, and whoever asks is on the other one, with
PostgreSQL and the logger, which takes what the scorer writes; as root, server and client go before whatever else runs
there. Both servers are started once, on one table of 1,000 cards and 500,000 rows, and take turns of some seconds.
Every request is a new transaction, and is on the disk before it is answered. The models have as many trees.
"""

from __future__ import annotations

import argparse
import os
import pickle
import random
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import psycopg
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks import fraud_plain  # noqa: E402
from benchmarks.load import Load, post, run  # noqa: E402
from benchmarks.paired import Spread, machine  # noqa: E402
from benchmarks.serving import CLIENT, HOST, Kind, Server, prefer, running  # noqa: E402
from tests.stack.conftest import environment, servers  # noqa: E402
from tests.stack.web.served import StandIn  # noqa: E402

from fraud.features import FEATURES  # noqa: E402
from fraud.generator import Generator  # noqa: E402
from fraud.tables import create_tables  # noqa: E402
from fraud.training.fitting import BOOSTING, detector_of  # noqa: E402

OURS, PLAIN = "the scorer", "plain FastAPI"
CARDS, ROWS, DAYS = 1_000, 500_000, 200
FIRST_CARD, BEGIN = 4_000_000_000_000_000, datetime(2025, 1, 1)
CONNECTIONS = (1, 16)
# More than anybody can answer a second: each is asked once.
MOST_A_SECOND = 1_500
KIND = Kind("/health/ready", "/transactions", lambda given: given, lambda said: 0)
# Each card has a transaction every ten hours or so, in a few shops around its home.
FILL = f"""
INSERT INTO fraud_detection_2_table
SELECT nextval('fraud_detection_2_table_id_seq'), timestamp '{BEGIN}' + n * interval '{DAYS * 86_400 / ROWS} seconds',
       {FIRST_CARD} + n % {CARDS}, 'fraud_Shop ' || (n / {CARDS} * 7 + n) % 40,
       (ARRAY['grocery_pos', 'gas_transport', 'misc_net', 'shopping_pos'])[1 + (n / {CARDS} + n) % 4],
       round((exp(2 + 2 * random()))::numeric, 2), 'Ada', 'Moreau', 'F', '1 Mill Lane', 'Springfield', 'VT', '05156',
       43 + n % {CARDS} / 1000.0, -72.5, 9062, 'Surveyor', date '1979-04-02', md5(n::text), 1735689600 + n,
       43 + n % {CARDS} / 1000.0 + random() - 0.5, -72.5 + random() - 0.5, false, NULL, NULL, NULL
FROM generate_series(1, {ROWS}) AS n
"""


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {CLIENT})
    print(f"{machine()}, {datetime.now():%Y-%m-%d}\n")
    with tempfile.TemporaryDirectory() as name, servers() as up, ExitStack() as opened:
        folder = Path(name)
        fill(up.postgres_url)
        started = {PLAIN: plain(folder, up.postgres_url), OURS: scorer(folder, up.postgres_url)}
        asked = {name: opened.enter_context(each) for name, each in started.items()}
        for connections in CONNECTIONS:
            loads = measured(asked, connections, arguments.rounds, arguments.seconds)
            print(f"{connections} connection(s), {arguments.rounds} rounds of {arguments.seconds:g} s\n")
            print(table(loads) + "\n", flush=True)


def fill(url: str) -> None:
    """Make the table, with its index and what the planner knows of it."""
    with psycopg.connect(url, autocommit=True) as connection:
        create_tables(connection)
        connection.execute(FILL.encode())
        connection.execute("VACUUM ANALYZE fraud_detection_2_table")


def forest(columns: int, *before: Any) -> Any:
    """scikit-learn's model with as many trees as the trainer's, of noise: what they say is not what is measured."""
    rows = np.random.default_rng(0).normal(size=(5_000, columns))
    model = HistGradientBoostingClassifier(**BOOSTING, early_stopping=False)
    return make_pipeline(*before, model).fit(rows, rows.sum(axis=1) > 2)


@contextmanager
def scorer(folder: Path, url: str) -> Iterator[Server]:
    """Our scorer as it is served, with a registry that has a champion, and a logger that follows it."""
    landing, registry = folder / "landing", StandIn()
    landing.mkdir()
    registry.promote(detector_of(forest(len(FEATURES))[-1]))
    logger = subprocess.Popen(
        [sys.executable, "-m", "fraud.logger_sql"],
        env=environment(LANDING_DIR=landing, LOGGER_SQL_URI=url, LOGGER_FOLLOW=1),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    settings = {
        "SCORER_HOST": HOST,
        "SCORER_PORT": "{port}",
        # Switched on, and never reached: one client asks for all.
        "SCORER_RATE": "1000000",
        "SCORER_BURST": "1000000",
        "LANDING_DIR": str(landing),
        "LOGGER_SQL_URI": url,
        "MLFLOW_TRACKING_URI": registry.url,
    }
    try:
        with running(KIND, [sys.executable, "-m", "fraud.scoring.server"], settings, folder) as server:
            yield server
    finally:
        logger.terminate()
        logger.wait()
        registry.stop()


@contextmanager
def plain(folder: Path, url: str) -> Iterator[Server]:
    """The rival, by uvicorn with its fastest parts."""
    model, columns = folder / "model.pickle", fraud_plain.COUNT
    model.write_bytes(pickle.dumps(forest(columns, SimpleImputer())))
    command = [sys.executable, "-m", "uvicorn", "benchmarks.fraud_plain:create_app", "--factory"]
    command += ["--host", HOST, "--port", "{port}", "--no-access-log"]
    settings = {"DATABASE": url.replace("postgresql://", "postgresql+psycopg://"), "MODEL": str(model)}
    with running(KIND, command, settings, folder) as server:
        yield server


def requests(address: str, count: int) -> list[bytes]:
    """Requests of transactions that nobody has seen, after all that are in the table, each of some card."""
    made = Generator(7).transaction(0)
    del made["is_fraud"]
    end = BEGIN + timedelta(days=DAYS)
    found = []
    for _ in range(count):
        at = end + timedelta(seconds=random.randrange(86_400))
        card = random.randrange(CARDS)
        given = {**made, "cc_num": FIRST_CARD + card, "trans_num": uuid.uuid4().hex, "trans_date_trans_time": str(at)}
        found.append(post(address, KIND.path, {**given, "amt": random.randrange(100, 50_000) / 100}))
    return found


def measured(asked: Mapping[str, Server], connections: int, rounds: int, seconds: float) -> Mapping[str, list[Load]]:
    """The load on each in each round, after one that does not count; the order is reversed every other round."""
    prefer([psutil.Process(), *(each for server in asked.values() for each in server.processes)], connections)
    loads: dict[str, list[Load]] = {name: [] for name in asked}
    for number in range(-1, rounds):
        for name in list(asked) if number % 2 == 0 else list(asked)[::-1]:
            server = asked[name]
            given = requests(server.address, int(MOST_A_SECOND * seconds))
            before = server.processor()
            load = run(server.address, given, connections, seconds)
            load = replace(load, processor=server.processor() - before)
            if load.failures or len(load.answers) >= len(given):
                sys.exit(f"{name}: {len(load.answers)} of {len(given)} answered, {sorted(set(load.failures))}")
            if number >= 0:
                loads[name].append(load)
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return loads


FIGURES: dict[str, tuple[Callable[[Load], float], int]] = {
    "p50, ms": (lambda load: load.percentile(50) * 1000, 2),
    "p99, ms": (lambda load: load.percentile(99) * 1000, 2),
    "answers a second": (lambda load: load.throughput, 0),
    "processor an answer, ms": (lambda load: load.processor * 1000 / len(load.answers), 2),
}


def table(loads: Mapping[str, list[Load]]) -> str:
    """Each figure of each, and how many times that of the plain one it is, paired by round."""
    lines = [f"| | {' | '.join(FIGURES)} |", "|---" * (1 + len(FIGURES)) + "|"]
    for name, mine in loads.items():
        cells = [Spread.of([figure(load) for load in mine]).text(digits=digits) for figure, digits in FIGURES.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    pairs = list(zip(loads[OURS], loads[PLAIN], strict=True))
    cells = [Spread.of([figure(one) / figure(other) for one, other in pairs]).text() for figure, _ in FIGURES.values()]
    return "\n".join([*lines, f"| times that of {PLAIN}, paired | {' | '.join(cells)} |"])


if __name__ == "__main__":
    main()
