import csv
import json

with open("data/sales.csv", newline="") as file:
    rows = list(csv.DictReader(file))
with open("output/rows.json", "w") as file:
    json.dump(rows, file)
