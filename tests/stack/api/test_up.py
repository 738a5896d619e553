"""`gigogne up api` on a machine without Docker: the API, its page and MongoDB, and nothing else."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys

from tests.conftest import REPOSITORY, Workspace, healthy
from tests.stack.api.conftest import PASSWORD, USER, Client
from tests.stack.conftest import SECRETS


def test_up_api(workspace: Workspace, way: str) -> None:
    """The page is served, users can sign in, and what is missing is named: MLflow, which nobody started."""
    address = f"127.{16 + secrets.randbelow(32)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"
    name = f"up-api-{secrets.token_hex(4)}"
    up = subprocess.Popen(
        [sys.executable, "-m", "gigogne", "-p", name, "-f", "docker-compose-api.yml", "up", "--json", "api"],
        cwd=REPOSITORY,
        env={**os.environ, **workspace.environment, **SECRETS, "BIND_ADDRESS": address, "API_MODEL_POLL": "0.2"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with healthy(up, "api") as at:
        assert at == {"mongodb": f"{address}:27017", "api": f"{address}:8000"}
        with Client(f"http://{at['api']}") as api:
            assert "<!doctype html>" in api.get("/").text and api.get("/docs").status_code == 200
            signed = api.post("/token", data={"username": USER, "password": PASSWORD})
            assert signed.status_code == 200, signed.text
            ready = api.get("/health/ready")
            assert ready.status_code == 503 and "docker compose up -d mlflow-server" in ready.json()["detail"]
            header = {"Authorization": f"Bearer {signed.json()['access_token']}"}
            given = {"prediction_id": secrets.token_hex(16), "code": 10}
            assert api.post("/feedback", json=given, headers=header).status_code == 202
    volumes = [path.name for path in workspace.volume(f"{name}_api-spool").iterdir()]
    assert any(each.startswith("outbox") for each in volumes), volumes
