import json
import os
import sys
from collections import Counter
from pathlib import Path

stage, step = Path(os.environ["STAGE_DIR"]), sys.argv[1]
if step == "split":
    stage.joinpath("words.json").write_text(json.dumps(Path("text.txt").read_text().split()))
elif step == "count":
    stage.joinpath("counts.json").write_text(json.dumps(Counter(json.loads(stage.joinpath("words.json").read_text()))))
else:
    top = max(json.loads(stage.joinpath("counts.json").read_text()).items(), key=lambda pair: pair[1])
    stage.joinpath("top.json").write_text(json.dumps({"top": top, "flavour": os.environ["FLAVOUR"]}))
print(step, os.environ["FLAVOUR"], os.environ["RETRIES"], os.environ["DEBUG"])
