"""End with 0 when MLflow answers at its own name."""

import os
from urllib.request import urlopen

urlopen("http://{MLFLOW_HOST}:{MLFLOW_PORT}/health".format(**os.environ), timeout=5).close()  # noqa: S310 - http
