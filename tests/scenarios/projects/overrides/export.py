import argparse
import csv
import json
import os
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--name", default="items")
name = parser.parse_args().name
out = Path(os.environ["OUT"])
items = [{"sku": "a-1", "stock": 3}, {"sku": "b-2", "stock": 0}]
if os.environ["FORMAT"] == "csv":
    with (out / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["sku", "stock"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(items)
else:
    (out / f"{name}.json").write_text(json.dumps({"env": os.environ["APP_ENV"], "items": items}))
