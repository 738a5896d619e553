"""The page for everybody: by keyboard alone, on a phone, at twice the size, in light and dark, read aloud."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from tests.stack.api.conftest import PASSWORD, USER, Api
from tests.stack.api.page.conftest import TITLE, OpenPage, classify, sign_in

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

HEIGHT = 740
PHONE = {"viewport": {"width": 360, "height": HEIGHT}, "has_touch": True, "is_mobile": True, "device_scale_factor": 3}
TWICE = {"viewport": {"width": 640, "height": 480}, "device_scale_factor": 2}  # a desk's window at 200 %
WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
SIZES = """() => [...document.querySelectorAll("a, button, input, select, textarea")]
    .filter((each) => each.checkVisibility())
    .map((each) => [each.id || each.textContent, each.getBoundingClientRect()])
    .filter(([, box]) => Math.min(box.width, box.height) < 44)
    .map(([name, box]) => `${name}: ${box.width} x ${box.height}`)"""
FOCUS = """() => {
    const at = document.activeElement, style = getComputedStyle(at), box = at.getBoundingClientRect();
    return {
        name: at.id || at.textContent,
        outline: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth),
        seen: box.top >= 0 && box.bottom <= innerHeight,
    };
}"""
# The best practices of axe are more than WCAG asks: they hold as well. In the dark only colours are others.
RULES = {
    "light": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "dark": ["color-contrast"],
}


def states(page: Page) -> Iterator[str]:
    """The page in each of its states, one after the other."""
    page.locator("#status", has_text="is ready").wait_for()
    yield "empty"
    page.get_by_role("button", name="Find the category").click()
    page.get_by_text("Write a title").wait_for()
    yield "mistake"
    classify(page, "zzz " * 60 + "w" * 300, "D" * 400)
    yield "unsure"
    page.get_by_label("No, it is").select_option(label="Radio-controlled models and drones")
    yield "other"
    # How it looks is all that is asked here; and the API counts how often somebody tries to sign in.
    page.route("**/token", lambda route: route.fulfill(status=401, json={}), times=1)
    page.get_by_role("button", name="Send: ").click()
    sign_in(page, "wrong")
    page.get_by_text("The name or the password is wrong.").wait_for()
    yield "signing in"
    page.keyboard.press("Escape")
    page.get_by_text("Not sent").wait_for()
    yield "not sent"
    page.route("**/token", lambda route: route.fulfill(json={"access_token": "t", "expires_in": 1}))
    page.route("**/feedback", lambda route: route.fulfill(json={"id": "f"}, status=202))
    page.get_by_role("button", name="Send: ").click()
    sign_in(page)
    page.get_by_role("button", name="Next product").wait_for()
    yield "thanks"
    page.context.set_offline(True)
    page.locator("#outage").get_by_text("The server cannot be reached.").wait_for()
    yield "outage"


@pytest.mark.parametrize("scheme", RULES)
def test_nothing_that_axe_knows_is_wrong(open_page: OpenPage, site: Api, scheme: str) -> None:
    """Roles, names, labels, landmarks, contrast: in each state, in light and dark."""
    from axe_playwright_python.sync_playwright import Axe

    # Nothing moves, so that axe sees colours as they stay.
    page = open_page(site, color_scheme=scheme, reduced_motion="reduce")
    for state in states(page):
        found = Axe().run(page, options={"runOnly": RULES[scheme]}).response
        wrong = {each["id"]: [node["html"] for node in each["nodes"]] for each in found["violations"]}
        assert wrong == {}, state
        assert found["passes"], state  # it looked


@pytest.mark.parametrize("device", [PHONE, TWICE], ids=["phone", "200 %"])
def test_all_of_it_fits(open_page: OpenPage, site: Api, device: dict[str, Any]) -> None:
    """Nothing is wider than the screen, whatever is written; what is touched is as large as a finger."""
    page = open_page(site, **device)
    for state in states(page):
        assert page.evaluate(WIDE) == 0, state
        if "is_mobile" in device:
            assert page.evaluate(SIZES) == [], state


def test_a_phone_shows_the_answer(open_page: OpenPage, site: Api) -> None:
    """The best category is on the screen at once, below no keyboard."""
    page = open_page(site, **PHONE)
    page.get_by_label("Title").tap()
    page.keyboard.type(TITLE)
    page.keyboard.press("Enter")
    best = page.locator("#categories li").first
    best.wait_for()
    box = best.bounding_box()
    assert box and box["y"] >= 0 and box["y"] + box["height"] <= HEIGHT
    assert page.evaluate("document.activeElement.id") != "designation"


def test_by_keyboard_alone(page: Page) -> None:
    """Tab in the order of reading, a focus that is seen, Enter to ask and to send."""
    page.locator("#status", has_text="is ready").wait_for()

    def tab(times: int = 1) -> str:
        for _ in range(times):
            page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS)
        assert focus["outline"] >= 2 and focus["seen"], focus
        return str(focus["name"])

    assert [tab() for _ in range(2)] == ["session", "designation"]
    page.keyboard.type(TITLE)
    page.keyboard.press("Enter")
    page.locator("#answer").wait_for()
    assert [tab() for _ in range(5)] == ["description", "Find the category", "clear", "agree", "other"]
    page.keyboard.type("Toys")
    assert [tab(), tab()] == ["comment", "send"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.type("A toy.")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    page.keyboard.type(USER)
    assert tab() == "password"
    page.keyboard.type(PASSWORD)
    with page.expect_request("**/feedback") as sent:
        page.keyboard.press("Enter")
    said = json.loads(sent.value.post_data or "")
    assert (said["code"], said["comment"]) == (1280, "A toy.")
    page.locator("#thanks-words").wait_for()
    assert page.evaluate(FOCUS)["name"] == "next"
    page.keyboard.press("Enter")
    assert page.evaluate(FOCUS)["name"] == "designation" and page.get_by_label("Title").input_value() == ""


def test_what_is_read_aloud(page: Page) -> None:
    """One sentence for an answer: the likeliest category and those after it."""
    answer = classify(page)
    spoken = page.locator("#announcement")
    assert spoken.get_attribute("role") == "status"
    names = [each["name"] for each in answer["categories"]]
    words = spoken.inner_text()
    assert words.startswith(f"{names[0]}, ") and words.index(names[1]) < words.index(names[2])
    page.get_by_role("button", name="Clear").click()
    assert spoken.inner_text() == ""


def test_nothing_moves_for_who_does_not_want_it(open_page: OpenPage, site: Api) -> None:
    """With `prefers-reduced-motion`; for others the bars grow."""
    for wish, moves in (("reduce", False), ("no-preference", True)):
        page = open_page(site, reduced_motion=wish)
        classify(page)
        style = page.locator(".fill").first.evaluate("(each) => getComputedStyle(each).animationName")
        assert (style != "none") is moves


def test_dark_is_dark(open_page: OpenPage, site: Api) -> None:
    """The page follows the reader's system."""
    shades = {}
    for scheme in ("light", "dark"):
        page = open_page(site, color_scheme=scheme)
        shade = page.evaluate("getComputedStyle(document.body).backgroundColor")
        shades[scheme] = sum(map(int, shade.removeprefix("rgb(").removesuffix(")").split(",")))
    assert shades["dark"] < 150 < 600 < shades["light"]
