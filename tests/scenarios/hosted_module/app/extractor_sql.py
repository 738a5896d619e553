"""Takes the confirmed transactions out of a database, and writes them to a CSV with pseudonyms for card numbers."""

import csv
import hashlib
import hmac
import sqlite3
import sys
from pathlib import Path

import click

NO_KEY = 4


@click.command()
@click.option("--source", envvar="SOURCE_SQL", required=True, type=Path)
@click.option("--result", envvar="RESULT_CSV", required=True, type=Path)
@click.option("--minimum", envvar="MINIMUM_AMOUNT", default=0.0)
@click.option("--key", envvar="EXTRACT_KEY", default="")
def extract(source: Path, result: Path, minimum: float, key: str) -> None:
    """Extract what was confirmed and is large enough; without a key for the pseudonyms, nothing."""
    if not key:
        print("EXTRACT_KEY is not set: nothing is extracted", file=sys.stderr)
        sys.exit(NO_KEY)
    database = sqlite3.connect(":memory:")
    database.executescript(source.read_text(encoding="utf-8"))
    rows = database.execute(
        "SELECT card, amount FROM transactions WHERE confirmed AND amount >= ? ORDER BY id", [minimum]
    ).fetchall()
    with result.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["card", "amount"])
        for card, amount in rows:
            writer.writerow([hmac.new(key.encode(), card.encode(), hashlib.sha256).hexdigest()[:12], amount])
    print(f"extracted {len(rows)} confirmed transactions of {minimum:g} or more to {result}")


if __name__ == "__main__":
    extract()
