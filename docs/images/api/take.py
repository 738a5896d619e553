"""Takes the pictures of the API's page: the pipeline itself, its champion, the API, a real browser.

    python docs/images/api/take.py

It needs Gigogne, Playwright (`pip install playwright`) and Chromium (Debian's package `chromium`, or another one that
`CHROMIUM` names). Ports 5000 and 8000 have to be free, on 127.0.0.1 or on the `BIND_ADDRESS` that is set.
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

from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
GIGOGNE = [sys.executable, "-m", "gigogne"]
SERVERS = ["api", "minio", "mlflow-server", "mongodb", "postgres"]
USER, PASSWORD = "admin", "changeme"  # as in docker/api/users
DESK = {"viewport": {"width": 1180, "height": 800}}
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


def main() -> None:
    """Run the pipeline on data of its own, take the pictures of what its model says."""
    with tempfile.TemporaryDirectory(prefix="gigogne-pictures-", ignore_cleanup_errors=True) as data:
        Path(data).chmod(0o755)  # servers that refuse root run as nobody
        settings = {**os.environ, "GIGOGNE_DATA_DIR": data, "GIGOGNE_ENGINE": "process"}
        with served(settings) as address:
            subprocess.run([*GIGOGNE, "run", "--pipeline", "catalog"], cwd=ROOT, env=settings, check=True)
            take(f"http://{address}")
        subprocess.run([*GIGOGNE, "down", "-v"], cwd=ROOT, env=settings, check=True)


@contextmanager
def served(settings: dict[str, str]) -> Iterator[str]:
    """The servers, kept up; the address of the API."""
    words = [*GIGOGNE, "up", "--json", *SERVERS]
    with subprocess.Popen(words, cwd=ROOT, env=settings, stdout=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        healthy, address = set[str](), ""
        while healthy < set(SERVERS) and (line := up.stdout.readline()):
            event = json.loads(line)
            if event["event"] == "healthy":
                healthy.add(event["service"])
            if event["event"] == "started" and event["service"] == "api":
                address = event["address"]
        try:
            yield address
        finally:
            up.send_signal(signal.SIGINT)
            up.communicate(timeout=60)


def take(address: str) -> None:
    """A product and its categories; on a phone; feedback given, in the dark."""
    with sync_playwright() as playwright:
        chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        shot(asked(browser, address, 0, **DESK), "result")
        shot(asked(browser, address, 0, **PHONE), "phone")
        page = asked(browser, address, 1, color_scheme="dark", **DESK)
        page.get_by_label("No, it is").select_option(label="Gaming accessories")
        page.get_by_role("button", name="Send: ").click()
        page.get_by_label("Name").fill(USER)
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.locator("#thanks-words").wait_for()
        shot(page, "feedback")
        browser.close()


def asked(browser: Browser, address: str, example: int, **options: Any) -> Page:
    """The page as a browser of these options has it, once it was asked for one of its examples."""
    page = browser.new_page(base_url=address, **options)
    page.goto("/")
    page.locator("#status[data-state=ready]").wait_for(timeout=60_000)  # it looks every few seconds
    page.locator(".example").nth(example).click()
    page.locator("#answered-by time").first.wait_for()
    page.evaluate("Promise.all(document.getAnimations().map((each) => each.finished))")
    return page


def shot(page: Page, name: str) -> None:
    """One picture, of what is on the screen."""
    page.mouse.move(0, 0)  # away from what changes under it
    page.screenshot(path=HERE / f"{name}.png")


if __name__ == "__main__":
    main()
