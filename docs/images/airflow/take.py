"""Takes the pictures of docs/tutorials/airflow.md: the tutorial's own files, on a real Airflow, in a real browser.

    python docs/images/airflow/take.py

It needs Airflow (`pip install -e '.[airflow,test]'`), Playwright (`pip install playwright`) and Chromium (Debian's
package `chromium`, or another one that `CHROMIUM` names).
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT))

from tests.airflow.rest import DagRun  # noqa: E402
from tests.airflow.server import Airflow  # noqa: E402

TUTORIAL = ROOT / "docs" / "tutorials" / "airflow.md"
FILES = re.compile(r"`(\S+)`(?::|\n)\n+```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SIZE = {"width": 1280, "height": 720}


def main() -> None:
    """Run the tutorial's DAG, take the pictures."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        home, shop, data = (Path(place) / name for name in ("home", "shop", "data"))
        for folder in (home, shop, data):
            folder.mkdir()
        written = dict(FILES.findall(TUTORIAL.read_text(encoding="utf-8")))
        dag = written.pop("shop.py")
        for name, text in written.items():
            (shop / name).write_text(text, encoding="utf-8")
        # The DAG finds the project beside its own folder.
        (home / "shop").symlink_to(shop)
        airflow = Airflow.made_in(home, GIGOGNE_DATA_DIR=str(data))
        try:
            airflow.boot()
            airflow.dag("shop", dag)
            for _ in range(2):  # the first builds the images, of which its log is full
                run = airflow.trigger("shop")
                assert run.wait(300) == "success", run.states()
            take(airflow.api.url, run)
        finally:
            airflow.close()


def take(url: str, run: DagRun) -> None:
    """The tasks, the run, the log of `load`."""
    with sync_playwright() as playwright:
        chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, device_scale_factor=1)
        page.goto(url)
        page.fill("input[name=username]", "admin")
        page.fill("input[name=password]", "admin")
        page.click("button[type=submit]")
        page.wait_for_url("**/")
        shot(page, f"{url}/dags/shop/tasks", "tasks", graph=True)
        shot(page, f"{url}/dags/shop/runs/{run.id}", "run")
        shot(page, f"{url}/dags/shop/runs/{run.id}/tasks/load", "log")
        browser.close()


def shot(page: Page, address: str, name: str, *, graph: bool = False) -> None:
    """One picture, when the page is at rest; with the graph of the tasks at the left, or the grid of their runs."""
    page.goto(address)
    page.get_by_label("Show Graph" if graph else "Show Grid").click()
    page.wait_for_timeout(6000)
    page.screenshot(path=HERE / f"{name}.png")


if __name__ == "__main__":
    main()
