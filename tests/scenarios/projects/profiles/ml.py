import json
import os
import sys
from pathlib import Path

models = Path(os.environ["MODELS"])
step = sys.argv[1]
points, model = models / "points.json", models / "model.json"
if step == "prepare":
    points.write_text(json.dumps([[x, 3 * x + 1] for x in range(10)]))
elif step == "train":
    xs, ys = zip(*json.loads(points.read_text()), strict=True)
    mx, my = sum(xs) / len(xs), sum(ys) / len(ys)
    slope = sum((x - mx) * (y - my) for x, y in zip(xs, ys, strict=True)) / sum((x - mx) ** 2 for x in xs)
    model.write_text(json.dumps({"slope": slope, "intercept": my - slope * mx}))
elif step == "evaluate":
    fitted = json.loads(model.read_text())
    error = max(abs(fitted["slope"] * x + fitted["intercept"] - y) for x, y in json.loads(points.read_text()))
    print(f"largest error {error:.3f}")
