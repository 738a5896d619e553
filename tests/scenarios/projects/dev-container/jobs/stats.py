import json
import sys
from pathlib import Path

text = Path(sys.argv[1]).read_text()
Path(sys.argv[2]).write_text(json.dumps({"lines": len(text.splitlines()), "words": len(text.split())}))
