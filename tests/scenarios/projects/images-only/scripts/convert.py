import csv
import json
import sys

with open(sys.argv[1], newline="") as source, open(sys.argv[2], "w") as target:
    json.dump({row["currency"]: float(row["rate"]) for row in csv.DictReader(source)}, target)
