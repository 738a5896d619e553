import os
from pathlib import Path

import tomli_w

Path(os.environ["OUT"]).write_text(tomli_w.dumps({"made_by": Path(os.environ["OUT"]).stem}))
