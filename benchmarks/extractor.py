"""The extractor against what people would use instead: pandas; and against the floor, psql to /dev/null.

The extractor and psql copy the confirmed transactions and the history of all; pandas the confirmed ones alone.

    python benchmarks/extractor.py --rows 1000000 --rounds 20 --pandas-rounds 3

Each contender is a whole process, from its start to its end, on the same table in a real PostgreSQL and (all but
psql) to the same real S3. The servers are those of LOGGER_SQL_URI and AWS_*, or, without, the stack's own, kept
up by gigogne. The database must be empty or made by this benchmark.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import botocore.session
import psycopg

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.paired import Seconds, child, command, measure  # noqa: E402
from tests.stack.conftest import servers as up  # noqa: E402

from fraud.extracts import HEADER, history, validated  # noqa: E402
from fraud.transactions import COLUMNS, TABLE  # noqa: E402

BUCKET = "fraud-detection-2-bucket"
SEED_ROWS = 1_000
MEMORY_ROWS = (100_000, 1_000_000, 3_000_000)
EXTRACT = [sys.executable, "-m", "fraud.extractor_sql"]
PANDAS = """
import os, sys
import pandas
from sqlalchemy import create_engine
frame = pandas.read_sql(sys.argv[1], create_engine(os.environ["SQLALCHEMY_URI"]), index_col="id")
frame.to_csv(sys.argv[2], index_label="",
             storage_options={"client_kwargs": {"endpoint_url": os.environ["AWS_ENDPOINT_URL"]}})
"""


def main() -> None:
    """Fill, measure, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=20, help="rounds of extractor and psql")
    options.add_argument("--pandas-rounds", type=int, default=3, help="rounds of extractor and pandas; 0: none")
    options.add_argument("--memory", action="store_true", help="also the memory at 100k, 1M and 3M rows")
    given = options.parse_args()
    with contenders() as environment:
        fill(environment, given.rows)
        print(f"\n{given.rows:,} rows of 23 columns\n\nThe same bytes as psql: {same_bytes(environment)}\n")
        speed(environment, given.rounds, given.pandas_rounds)
        if given.memory:
            memory(environment)


def speed(environment: dict[str, str], rounds: int, pandas_rounds: int) -> None:
    """Extractor against psql and against pandas, each pair in turns."""
    extractor = extract(environment)
    psql = command(copy_to(environment, "/dev/null", "/dev/null"), environment)
    print(measure({"psql \\copy to /dev/null": psql, "extractor": extractor}, rounds).table("extractor"))
    if pandas_rounds:
        query, target = selects(environment)[0], f"s3://{BUCKET}/bench/pandas.csv"
        pandas = command([sys.executable, "-c", PANDAS, query, target], environment)
        print("\n" + measure({"pandas": pandas, "extractor": extractor}, pandas_rounds).table("extractor"))


def extract(environment: dict[str, str]) -> Callable[[], Seconds]:
    """The extractor, which must not find that it has written the same before."""
    s3 = botocore.session.get_session().create_client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment.get("AWS_DEFAULT_REGION"),
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )

    def run() -> Seconds:
        s3.delete_object(Bucket=BUCKET, Key="bench/mine.json")
        begin = time.perf_counter()
        child(EXTRACT, environment)
        return Seconds(time.perf_counter() - begin)

    return run


def memory(environment: dict[str, str]) -> None:
    """The extractor's largest resident memory as the table grows."""
    print("\n| rows | extract | peak resident memory |\n|---|---|---|")
    for rows in MEMORY_ROWS:
        fill(environment, rows)
        done = child(EXTRACT, environment)
        size = done.output.strip().rpartition("(")[2].rstrip(")")
        print(f"| {rows:,} | {size} | {done.peak_mib:.0f} MiB |", flush=True)


def same_bytes(environment: dict[str, str]) -> bool:
    """Whether the object below its header is what psql writes for the same SELECT."""
    with tempfile.TemporaryDirectory() as folder:
        theirs, mine = Path(folder) / "psql.csv", Path(folder) / "extractor.csv"
        child(copy_to(environment, str(theirs)), environment)
        child(EXTRACT, {**environment, "EXTRACTOR_TARGET": str(mine)})
        return digest(mine, skip=len(HEADER)) == digest(theirs)


def digest(path: Path, skip: int = 0) -> str:
    """The hash of a file after its first bytes."""
    with path.open("rb") as file:
        file.seek(skip)
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_to(environment: dict[str, str], *targets: str) -> list[str]:
    """The command for psql: the confirmed transactions, and the history where it has a target too."""
    psql = shutil.which("psql") or "psql"
    copies = zip(selects(environment), targets, strict=False)
    words = [word for query, target in copies for word in ("-c", f"\\copy ({query}) TO '{target}' (FORMAT csv)")]
    return [psql, "-X", "-q", "-d", environment["LOGGER_SQL_URI"], *words]


def selects(environment: dict[str, str]) -> list[str]:
    """What is extracted: the confirmed transactions, and all of them."""
    with psycopg.connect(environment["LOGGER_SQL_URI"]) as connection:
        return [query(None).as_string(connection) for query in (validated, history)]


def fill(environment: dict[str, str], rows: int) -> None:
    """Bring the table to exactly ``rows`` rows, all confirmed: simulated ones, and copies with other numbers."""
    with psycopg.connect(environment["LOGGER_SQL_URI"], autocommit=True) as connection:
        if connection.execute("SELECT to_regclass(%s)", (TABLE,)).fetchone() == (None,):
            simulate(environment)
        names = ", ".join(f'"{name}"' for name in COLUMNS if name != "trans_num")
        connection.execute(f"DELETE FROM {TABLE} WHERE id > {SEED_ROWS}".encode())
        connection.execute(f"UPDATE {TABLE} SET fraud_confirmed = is_fraud".encode())
        connection.execute(f"VACUUM FULL {TABLE}".encode())
        connection.execute(
            f"INSERT INTO {TABLE} (id, {names}, trans_num, is_fraud, fraud_confirmed)"
            f" SELECT id + n * {SEED_ROWS}, {names}, md5(trans_num || n), is_fraud, is_fraud"
            f" FROM {TABLE}, generate_series(1, {rows // SEED_ROWS - 1}) AS n ORDER BY 1".encode()
        )
        connection.execute(f"VACUUM ANALYZE {TABLE}".encode())


def simulate(environment: dict[str, str]) -> None:
    """The rows that all others are copies of."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {**environment, "LANDING_DIR": folder, "TRANSACTIONS": str(SEED_ROWS)}
        for module in ("simulator", "logger_sql"):
            subprocess.run([sys.executable, "-m", f"fraud.{module}"], env=settings, check=True)


@contextmanager
def contenders() -> Iterator[dict[str, str]]:
    """The environment by which every contender finds its servers."""
    base = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "EXTRACTOR_TARGET": f"s3://{BUCKET}/bench/mine.csv"}
    if "LOGGER_SQL_URI" in os.environ:
        yield {**base, **sqlalchemy(os.environ["LOGGER_SQL_URI"])}
        return
    with up() as servers:
        url = servers.postgres_url
        yield {**base, **servers.s3.environment, **sqlalchemy(url), "LOGGER_SQL_URI": url}


def sqlalchemy(url: str) -> dict[str, str]:
    """The address as SQLAlchemy writes it."""
    return {"SQLALCHEMY_URI": "postgresql+psycopg://" + url.partition("://")[2]}


if __name__ == "__main__":
    main()
