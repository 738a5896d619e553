import configparser
import os
import sys
from pathlib import Path

place = {name: Path(os.environ[name]) for name in ("SHARED", "CACHE", "SCRATCH", "PART", "DEFAULTS")}
step = sys.argv[1]
if step == "produce":
    for folder in ("CACHE", "SCRATCH"):
        assert not list(place[folder].iterdir()), f"{folder} is new at each start"
        (place[folder] / "x").write_text("x")
    daily = place["SHARED"] / "daily"
    daily.mkdir(exist_ok=True)
    (daily / "monday.txt").write_text("12")
    (place["SHARED"] / "top.txt").write_text("top")
elif step == "read":
    print("read", (place["SHARED"] / "daily" / "monday.txt").read_text())
    try:
        (place["SHARED"] / "no.txt").write_text("")
    except OSError:
        print("read only")
elif step == "archive":
    names = sorted(path.name for path in place["PART"].iterdir())
    (place["DEFAULTS"] / "archive.txt").write_text(",".join(names))
    print("no defaults" if not (place["DEFAULTS"] / "defaults.ini").exists() else "defaults")
else:
    config = configparser.ConfigParser()
    config.read(place["DEFAULTS"] / "defaults.ini")
    print("depth", config["model"]["depth"])
