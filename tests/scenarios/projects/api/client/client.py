import json
import os
from pathlib import Path
from urllib.request import Request, urlopen

with Path(os.environ["RESULTS"]).open("w", encoding="utf-8") as results:
    for text in Path("texts.txt").read_text(encoding="utf-8").splitlines():
        body = json.dumps({"text": text}).encode()
        request = Request(f"{os.environ['API_URL']}/predict", body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=10) as answer:
            results.write(json.dumps({"text": text, **json.load(answer)}, ensure_ascii=False) + "\n")
