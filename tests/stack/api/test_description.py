"""The API does what its own description says of it: schemathesis asks it what no person would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.stack.api.conftest import StandIn, StartApi

from catalog.classifier import Classifier

SEED, EXAMPLES = 7, 5
# A body that is too large is refused for that alone, whatever else is right or wrong with it.
SETTINGS = """\
[checks]
negative_data_rejection.expected-statuses = [400, 401, 404, 405, 413, 415, 422, 429]
positive_data_acceptance.expected-statuses = ["2xx", 401, 404, 413, 429]
"""


def test_description_is_true(
    start_api: StartApi, classifiers: tuple[Classifier, Classifier], registry: StandIn, tmp_path: Path
) -> None:
    """What fits the description is accepted, what does not is refused, each answer is of a kind that is described."""
    registry.promote(classifiers[0])
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    command = [sys.executable, "-m", "schemathesis.cli", "run", "--seed", str(SEED), "--max-examples", str(EXAMPLES)]
    with start_api(MLFLOW_TRACKING_URI=registry.url) as api:
        api.serves(1)
        signed = ["--header", f"Authorization: Bearer {api.token()}"]
        ended = subprocess.run(
            [*command, *signed, "--request-timeout", "20", f"{api.url}/openapi.json"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert ended.returncode == 0, ended.stdout[:10_000]
        assert "Traceback" not in "".join(api.said)
        assert api.metric('http_requests_total{handler="/predict",method="POST",status="200"}') > 0
