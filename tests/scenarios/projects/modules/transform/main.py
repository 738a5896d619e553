import json
import os
import sys
from pathlib import Path

import yaml

data = Path(sys.argv[1])
rules = yaml.safe_load(Path("rules.yaml").read_text())
minimum = float(os.environ["MIN_AMOUNT"])
rows = json.loads((data / "raw.json").read_text())
kept = [
    {"country": rules["countries"][row["country"]], "amount": float(row["amount"]), "weekday": row["weekday"]}
    for row in rows
    if float(row["amount"]) >= minimum
]
(data / "clean.json").write_text(json.dumps(kept))
print(f"kept {len(kept)} of {len(rows)} orders")
