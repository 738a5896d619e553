"""Takes the picture of a retraining in Airflow, at the end of docs/tutorials/serving.md: the newest run of its DAG.

    AIRFLOW_PASSWORD=… python docs/images/monitoring/retraining.py http://127.0.0.1:8080

It needs Playwright (`pip install playwright`) and Chromium (Debian's package `chromium`, or another one that `CHROMIUM`
names).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent


def main() -> None:
    """Sign in, ask for the newest run, show its page."""
    url = sys.argv[1].rstrip("/")
    user = {"username": os.environ.get("AIRFLOW_USER", "admin"), "password": os.environ["AIRFLOW_PASSWORD"]}
    with sync_playwright() as playwright:
        chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto(url)
        for name, value in user.items():
            page.fill(f"input[name={name}]", value)
        page.click("button[type=submit]")
        page.wait_for_url("**/")
        token = page.request.post(f"{url}/auth/token", data=user).json()["access_token"]
        newest = f"{url}/api/v2/dags/catalog/dagRuns?order_by=-run_after&limit=1"
        found = page.request.get(newest, headers={"Authorization": f"Bearer {token}"}).json()["dag_runs"]
        page.goto(f"{url}/dags/catalog/runs/{found[0]['dag_run_id']}")
        page.get_by_label("Show Grid").click()
        page.wait_for_timeout(6000)  # until it is at rest
        page.screenshot(path=HERE / "retraining.png")
        browser.close()


if __name__ == "__main__":
    main()
