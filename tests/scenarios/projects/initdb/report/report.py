import csv
import os
from pathlib import Path

import psycopg

with psycopg.connect(os.environ["DATABASE_URL"]) as db:
    rows = db.execute("SELECT shop, total FROM revenue ORDER BY shop").fetchall()
with Path(os.environ["REPORT"]).open("w", newline="", encoding="utf-8") as file:
    csv.writer(file, lineterminator="\n").writerows([("shop", "total"), *rows])
