import json
import os
import sqlite3
from pathlib import Path

import click


@click.command()
@click.option("--threshold", type=float, required=True)
def main(threshold):
    with sqlite3.connect(os.environ["WAREHOUSE"]) as db:
        rows = db.execute("SELECT name FROM features WHERE risk > ? ORDER BY name", [threshold])
        at_risk = [name for (name,) in rows]
    ignored = sorted(p for p in (".env", "notebooks", "reports") if Path(p).exists())
    report = {"at_risk": at_risk, "ignored_but_there": ignored}
    (Path(os.environ["REPORTS"]) / "churn.json").write_text(json.dumps(report))


main()
