import json
import sys
from collections import defaultdict
from pathlib import Path

import tomli_w

data = Path(sys.argv[1])
totals = defaultdict(float)
for row in json.loads((data / "clean.json").read_text()):
    totals[row["country"]] += row["amount"]
with (data / "report.toml").open("wb") as file:
    tomli_w.dump({"totals": dict(totals)}, file)
print(f"loaded {len(totals)} countries")
