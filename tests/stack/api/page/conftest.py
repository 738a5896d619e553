"""A real browser before the real API, which has a model and a MongoDB."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from tests.conftest import CHROMIUM
from tests.stack.api.conftest import PASSWORD, USER, Api, StandIn, serving
from tests.stack.conftest import ESCAPED

from catalog.classifier import Classifier

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TITLE = "roman livre poche"
TOKEN_KEY = "k" * 32
OpenPage = Callable[..., "Page"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def database(mongodb_address: str) -> Iterator[Database[dict[str, Any]]]:
    """What the API sends predictions and feedback to."""
    with MongoClient[dict[str, Any]](_mongodb_uri(mongodb_address, uuid.uuid4().hex[:12])) as client:
        yield client.get_default_database()


@pytest.fixture(scope="session")
def site(
    database: Database[dict[str, Any]], mongodb_address: str, classifiers: tuple[Classifier, Classifier]
) -> Iterator[Api]:
    """An API with a champion and a MongoDB, for all tests that leave it as it is."""
    registry = StandIn()
    registry.promote(classifiers[0])
    uri = _mongodb_uri(mongodb_address, database.name)
    with serving(MLFLOW_TRACKING_URI=registry.url, MONGODB_URI=uri, API_TOKEN_KEY=TOKEN_KEY) as api:
        api.serves(1)
        yield api
    registry.stop()


def _mongodb_uri(address: str, name: str) -> str:
    return f"mongodb://admin:{ESCAPED}@{address}/{name}?authSource=admin"


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens the page of an API, as a browser of these options has it; nothing in it may go wrong unseen."""
    wrong: list[str] = []
    contexts = []

    def open_(api: Api, **options: Any) -> Page:
        contexts.append(browser.new_context(base_url=api.url, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.goto("/")
        return page

    yield open_
    for context in contexts:
        context.close()
    # Chromium reports answers that are refusals, which is what some tests are about.
    assert [each for each in wrong if not each.startswith("Failed to load resource: ")] == []


@pytest.fixture
def page(open_page: OpenPage, site: Api) -> Page:
    """The page, on a desk."""
    return open_page(site)


def classify(page: Page, title: str = TITLE, description: str = "") -> dict[str, Any]:
    """Ask for a product's categories; what the API answered, once the page shows it."""
    page.get_by_label("Title").fill(title)
    page.get_by_label("Description").fill(description)
    with page.expect_response("**/predict?*") as answered:
        page.get_by_role("button", name="Find the category").click()
    page.locator("#asked").get_by_text(title, exact=True).wait_for()
    answer: dict[str, Any] = answered.value.json()
    return answer


def sign_in(page: Page, password: str = PASSWORD) -> None:
    """Fill in the dialog, and send it."""
    page.get_by_label("Name").fill(USER)
    page.get_by_label("Password").fill(password)
    page.get_by_role("dialog").get_by_role("button", name="Sign in").click()
