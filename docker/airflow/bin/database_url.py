"""Print a database's URL with the password that a file holds.

database_url.py URL FILE
"""

import sys
from pathlib import Path
from urllib.parse import quote

url, file = sys.argv[1:]
password = Path(file).read_text(encoding="utf-8").strip()
before, at, after = url.rpartition("@")
sys.stdout.write(f"{before}:{quote(password, safe='')}{at}{after}")  # no line end: Airflow would keep it
