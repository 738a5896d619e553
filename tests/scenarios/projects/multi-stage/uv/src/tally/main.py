import sys
from importlib.metadata import version
from pathlib import Path

import tomli_w


def main():
    Path(sys.argv[1]).write_text(tomli_w.dumps({"made_by": "uv", "version": version("tally")}))
