"""End with 0 when Airflow calls the named parts of itself healthy.

health.py PART…
"""

import json
import os
import sys
from urllib.parse import urljoin
from urllib.request import urlopen

url = urljoin(os.environ["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"], "/api/v2/monitor/health")
with urlopen(url, timeout=5) as answer:  # noqa: S310 - the URL is the Compose file's
    found = json.load(answer)
ill = [f"{part}: {found[part]['status']}" for part in sys.argv[1:] if found[part]["status"] != "healthy"]
sys.exit(", ".join(ill) or 0)
