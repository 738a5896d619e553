"""`gigogne up scorer logger_live` on a machine without Docker: these two and PostgreSQL, and nothing else."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys

import pytest
from tests.conftest import REPOSITORY, Workspace, healthy
from tests.stack.conftest import SECRETS
from tests.stack.fraud.scorer.conftest import record
from tests.stack.web.served import PASSWORD, USER, Client


@pytest.mark.parametrize("way", [pytest.param("sandbox", marks=pytest.mark.full), "portable"], indirect=True)
def test_up_scorer(workspace: Workspace, way: str) -> None:
    """Users can sign in and confirm, its documentation is there, and what is missing is named: MLflow."""
    address = f"127.{16 + secrets.randbelow(32)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"
    name = f"up-scorer-{secrets.token_hex(4)}"
    users = REPOSITORY / "docker" / "fraud" / "scorer" / "users"
    settings = {**SECRETS, "BIND_ADDRESS": address, "SCORER_USERS_FILE": str(users), "SCORER_MODEL_POLL": "0.2"}
    command = ["-p", name, "-f", "docker-compose-fraud.yml", "up", "--json", "scorer", "logger_live"]
    up = subprocess.Popen(
        [sys.executable, "-m", "gigogne", *command],
        cwd=REPOSITORY,
        env={**os.environ, **workspace.environment, **settings},
        stdout=subprocess.PIPE,
        text=True,
    )
    with healthy(up, "scorer", "logger_live") as at:
        assert at["scorer"] == f"{address}:8002" and at.keys() <= {"postgres", "scorer", "logger_live"}
        with Client(f"http://{at['scorer']}") as scorer:
            assert scorer.get("/docs").status_code == 200
            ready = scorer.get("/health/ready")
            assert ready.status_code == 503 and "docker compose up -d mlflow-server" in ready.json()["detail"]
            assert scorer.post("/transactions", json=record(0)).status_code == 503
            signed = scorer.post("/token", data={"username": USER, "password": PASSWORD})
            header = {"Authorization": f"Bearer {signed.json()['access_token']}"}
            given = {"trans_num": "a", "is_fraud": True, "confirmed_at": "2025-01-09T10:00:00"}
            answer = scorer.post("/confirmations", json={"confirmations": [given]}, headers=header)
            assert answer.json()["confirmations"][0]["outcome"] == "waiting", answer.text
    assert (workspace.volume(f"{name}_landing") / ".scorer.lock").exists()
