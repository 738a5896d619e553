import json
from collections import defaultdict

totals = defaultdict(int)
for row in json.load(open("output/rows.json")):
    totals[row["region"]] += int(row["amount"])
json.dump(totals, open("output/totals.json", "w"))
