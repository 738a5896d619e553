"""Takes the pictures of docs/tutorials/catalog.md: the pipeline itself, its MLflow, a real browser.

    python docs/images/mlflow/take.py

It needs Gigogne, Playwright (`pip install playwright`) and Chromium (Debian's package `chromium`, or another one that
`CHROMIUM` names). Port 5000 has to be free.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3
from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
GIGOGNE = [sys.executable, "-m", "gigogne"]
SERVERS = ["minio", "mlflow-server", "mongodb", "postgres"]
MODEL = "catalog-classifier"
MLFLOW = "http://127.0.0.1:5000"
NO_ASSISTANT = """
localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
"""
AT_REST = 12_000  # milliseconds, for a busy machine


def main() -> None:
    """Run the pipeline on data of its own, take the pictures."""
    with tempfile.TemporaryDirectory(prefix="gigogne-pictures-", ignore_cleanup_errors=True) as data:
        Path(data).chmod(0o755)  # servers that refuse root run as nobody
        settings = {**os.environ, "GIGOGNE_DATA_DIR": data, "GIGOGNE_ENGINE": "process"}
        with served(settings):
            subprocess.run([*GIGOGNE, "run", "--pipeline", "catalog"], cwd=ROOT, env=settings, check=True)
            take()
        subprocess.run([*GIGOGNE, "down", "-v"], cwd=ROOT, env=settings, check=True)


@contextmanager
def served(settings: dict[str, str]) -> Iterator[None]:
    """The pipeline's servers, kept up."""
    words = [*GIGOGNE, "up", "--json", *SERVERS]
    with subprocess.Popen(words, cwd=ROOT, env=settings, stdout=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        healthy = 0
        while healthy < len(SERVERS) and (line := up.stdout.readline()):
            healthy += json.loads(line)["event"] == "healthy"
        try:
            yield
        finally:
            up.send_signal(signal.SIGINT)
            up.communicate(timeout=60)


def take() -> None:
    """The experiment, the champion's run and its pictures, the model and its alias."""
    champion = ask(f"registered-models/alias?name={MODEL}&alias=champion")["model_version"]
    run = ask(f"runs/get?run_id={champion['run_id']}")["run"]["info"]
    at = f"{MLFLOW}/#/experiments/{run['experiment_id']}/runs"
    with sync_playwright() as playwright:
        chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 960}, device_scale_factor=1)
        page.add_init_script(NO_ASSISTANT)
        page.set_default_timeout(120_000)
        page.goto(MLFLOW)
        page.get_by_text("Model training", exact=True).first.click()  # else the pages are those for language models
        shot(page, at, "experiment")
        shot(page, f"{at}/{run['run_id']}", "run")
        shot(page, f"{at}/{run['run_id']}/artifacts", "artifacts", "report", "confusion_matrix.png")
        shot(page, f"{MLFLOW}/#/models/{MODEL}", "model")
        browser.close()


def ask(what: str) -> dict[str, Any]:
    """An answer of MLflow."""
    answer = urllib3.request("GET", f"{MLFLOW}/api/2.0/mlflow/{what}", timeout=30)
    assert answer.status == 200, answer.data
    found: dict[str, Any] = answer.json()
    return found


def shot(page: Page, address: str, name: str, *clicks: str) -> None:
    """One picture, when the page is at rest, after clicks on what has these texts."""
    page.goto(address)
    page.wait_for_timeout(AT_REST)  # it asks the server for ever, so there is no event to wait for
    for text in clicks:
        page.get_by_text(text, exact=True).first.click()
        page.wait_for_timeout(AT_REST)
    page.mouse.move(640, 950)  # away from what explains itself
    page.wait_for_timeout(1000)
    page.screenshot(path=HERE / f"{name}.png")


if __name__ == "__main__":
    main()
