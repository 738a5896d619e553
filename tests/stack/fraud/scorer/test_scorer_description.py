"""The scorer does what its own description says of it: schemathesis asks it what no person would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.stack.fraud.scorer.conftest import StartScorer
from tests.stack.web.served import StandIn

from fraud.model import Detector

SEED, EXAMPLES = 7, 5
# Dates are texts here, and not each text is a date: what fits may be refused for what the schema cannot say.
SETTINGS = """\
[checks]
negative_data_rejection.expected-statuses = [400, 401, 404, 405, 413, 415, 422, 429]
positive_data_acceptance.expected-statuses = ["2xx", 401, 404, 409, 413, 422, 429]
"""


def test_description_is_true(
    start_scorer: StartScorer, detectors: tuple[Detector, Detector], registry: StandIn, database: str, tmp_path: Path
) -> None:
    """What does not fit the description is refused, and each answer is of a kind that is described."""
    registry.promote(detectors[0])
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    command = [sys.executable, "-m", "schemathesis.cli", "run", "--seed", str(SEED), "--max-examples", str(EXAMPLES)]
    with start_scorer(MLFLOW_TRACKING_URI=registry.url, LOGGER_SQL_URI=database) as scorer:
        scorer.serves(1)
        signed = ["--header", f"Authorization: Bearer {scorer.token()}"]
        ended = subprocess.run(
            [*command, *signed, "--request-timeout", "20", f"{scorer.url}/openapi.json"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert ended.returncode == 0, ended.stdout[:10_000]
        assert "Traceback" not in "".join(scorer.said)
        assert scorer.metric('http_requests_total{handler="/transactions",method="POST",status="200"}') > 0
