"""`/docs` in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.stack.api.conftest import Api

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


def test_an_example_is_sent(browser: Browser, site: Api) -> None:
    """A person sends an example and sees its answer; no policy is broken, and no other server is asked."""
    asked: list[str] = []
    wrong: list[str] = []
    page = browser.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(f"{site.url}/docs")
    page.locator("#operations-predictions-predict_predict_post").click()
    page.get_by_role("button", name="Execute").click()
    assert '"probability"' in page.locator(".live-responses-table").inner_text()
    page.close()
    assert wrong == [] and f"{site.url}/predict?top_k=3" in asked
    assert all(each.startswith((site.url, "data:")) for each in asked)
