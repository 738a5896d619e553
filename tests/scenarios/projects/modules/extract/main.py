import csv
import json
import sys
from pathlib import Path

from dateutil.parser import parse

data = Path(sys.argv[1])
with (data / "orders.csv").open(newline="") as file:
    rows = [{**row, "weekday": parse(row["ordered_at"]).strftime("%A")} for row in csv.DictReader(file)]
(data / "raw.json").write_text(json.dumps(rows))
print(f"extracted {len(rows)} orders")
