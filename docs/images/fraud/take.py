"""Takes the pictures of docs/tutorials/fraud.md that a browser shows: MLflow, a drift report, a run in Airflow.

    AIRFLOW_PASSWORD=… python docs/images/fraud/take.py s3://fraud-detection-2-bucket/drift/20261122T204222Z/report.html

Go through the tutorial, leave `gigogne up` and Airflow running, and take them; the word is a report that it made. It
needs Playwright (`pip install playwright`), botocore, and Chromium (Debian's package `chromium`, or another one that
`CHROMIUM` names). Without AIRFLOW_PASSWORD Airflow is left out.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2] / "src"))

from job.storage import Storage  # noqa: E402

MODEL = "fraud-detector"
MLFLOW = os.environ.get("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
AIRFLOW = os.environ.get("AIRFLOW_URL", "http://127.0.0.1:8080")
S3 = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9000",
    "AWS_ACCESS_KEY_ID": "minio",
    "AWS_SECRET_ACCESS_KEY": "minio123456",
    "AWS_DEFAULT_REGION": "us-east-1",
}
NO_ASSISTANT = """
localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
"""
SIZE = {"width": 1280, "height": 860}
AT_REST = 12_000  # milliseconds, for a busy machine


def main() -> None:
    """Take them all."""
    for name, value in S3.items():
        os.environ.setdefault(name, value)
    with sync_playwright() as playwright:
        chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        take_mlflow(browser)
        take_report(browser, sys.argv[1])
        if password := os.environ.get("AIRFLOW_PASSWORD"):
            take_airflow(browser, {"username": os.environ.get("AIRFLOW_USER", "admin"), "password": password})
        browser.close()


def take_mlflow(browser: Browser) -> None:
    """The champion's run, with a picture of its report."""
    page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
    page.add_init_script(NO_ASSISTANT)
    page.set_default_timeout(120_000)
    champion = ask(page, f"registered-models/alias?name={MODEL}&alias=champion")["model_version"]
    run = ask(page, f"runs/get?run_id={champion['run_id']}")["run"]["info"]
    page.goto(MLFLOW)
    page.get_by_text("Model training", exact=True).first.click()  # else the pages are those for language models
    page.goto(f"{MLFLOW}/#/experiments/{run['experiment_id']}/runs/{run['run_id']}/artifacts")
    for text in ("report", "precision_recall.png"):
        page.wait_for_timeout(AT_REST)
        page.get_by_text(text, exact=True).first.click()
    shot(page, "mlflow")


def ask(page: Page, what: str) -> dict[str, Any]:
    """An answer of MLflow."""
    answer = page.request.get(f"{MLFLOW}/api/2.0/mlflow/{what}")
    assert answer.ok, answer.text()
    found: dict[str, Any] = answer.json()
    return found


def take_report(browser: Browser, address: str) -> None:
    """The first part of a report."""
    report = Storage().get(address).decode()
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    page.set_content(report)
    page.screenshot(path=HERE / "report.png")


def take_airflow(browser: Browser, user: dict[str, str]) -> None:
    """The newest retraining that was asked for, if any, else the newest run."""
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.goto(AIRFLOW)
    for name, value in user.items():
        page.fill(f"input[name={name}]", value)
    page.click("button[type=submit]")
    page.wait_for_url(re.compile(r"/(?!.*login)"))
    token = page.request.post(f"{AIRFLOW}/auth/token", data=user).json()["access_token"]
    newest = f"{AIRFLOW}/api/v2/dags/fraud/dagRuns?order_by=-run_after&limit=50"
    runs = page.request.get(newest, headers={"Authorization": f"Bearer {token}"}).json()["dag_runs"]
    names = [each["dag_run_id"] for each in runs]
    wished = [name for name in names if name.startswith("retrain__")]
    page.goto(f"{AIRFLOW}/dags/fraud/runs/{(wished or names)[0]}")
    page.get_by_label("Show Grid").click()
    shot(page, "airflow")


def shot(page: Page, name: str) -> None:
    """One picture, when the page is at rest."""
    page.wait_for_timeout(AT_REST)
    page.mouse.move(640, 700)  # away from what explains itself
    page.wait_for_timeout(1000)
    page.screenshot(path=HERE / f"{name}.png")


if __name__ == "__main__":
    main()
