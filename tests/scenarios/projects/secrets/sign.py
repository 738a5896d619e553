import hashlib
import hmac
import os
import tomllib
from pathlib import Path

key = Path(os.environ["API_KEY_FILE"]).read_text().strip().encode()
settings = tomllib.loads(Path(os.environ["SETTINGS"]).read_text())
lines = [hmac.new(key, text.encode(), settings["algorithm"]).hexdigest() for text in settings["messages"]]
Path(os.environ["STATE"], "signatures.txt").write_text("\n".join(lines) + "\n")
print(f"signed {len(lines)} as {getattr(os, 'getuid', lambda: '?')()}", hashlib.sha256(key).hexdigest()[:4])
