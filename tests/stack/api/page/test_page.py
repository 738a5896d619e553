"""The page in a real browser, before the real API: a product in, its categories out, a person's word on them back."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from pymongo.database import Database
from tests.stack.api.conftest import USER, Api, StandIn, StartApi
from tests.stack.api.page.conftest import TOKEN_KEY, OpenPage, classify, sign_in

from catalog.classifier import Classifier

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.browser

Stored = Database[dict[str, Any]]
# A page that waits for half a second, not for twenty.
HURRY = "() => { const wait = AbortSignal.timeout; AbortSignal.timeout = (time) => wait.call(AbortSignal, time / 40) }"
EXPIRED = "Your session is over. Sign in again: your feedback is kept, and sent then."


def stored(find: Callable[[], Any]) -> Any:
    """What is in MongoDB, as soon as the API has sent it there."""
    until = time.monotonic() + 20
    while not (found := find()) and time.monotonic() < until:
        time.sleep(0.1)
    assert found
    return found


def feedback_on(database: Stored, answer: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The feedback on a prediction that MongoDB has: code, comment, user."""
    rows = stored(lambda: list(database["feedback"].find({"prediction_id": answer["id"]})))
    return [(row["code"], row["comment"], row["user"]) for row in rows]


def shown(chance: float) -> str:
    """A probability as the page writes it."""
    if chance < 0.001:
        return "< 0.1%"
    return "> 99.9%" if chance > 0.999 else f"{chance * 100:.1f}%".replace(".0%", "%")


def test_a_product_and_its_categories(page: Page, site: Api, database: Stored) -> None:
    """Bars as long as the probabilities are great, the likeliest first; which model, since when; MongoDB has it."""
    answer = classify(page, description="auteur tome")
    chances = [each["probability"] for each in answer["categories"]]
    assert chances == sorted(chances, reverse=True) and len(chances) == 3 and chances[0] > 0.5
    page.evaluate("Promise.all(document.getAnimations().map(each => each.finished))")
    rows = page.locator("#categories li")
    assert rows.locator(".name").all_inner_texts() == [each["name"] for each in answer["categories"]]
    assert rows.locator(".percent").all_inner_texts() == [shown(chance) for chance in chances]
    for row, chance in zip(rows.all(), chances, strict=True):
        bar, fill = row.locator(".bar").bounding_box(), row.locator(".fill").bounding_box()
        assert bar and fill and fill["x"] == bar["x"] and abs(fill["width"] / bar["width"] - chance) < 0.005
    told = page.locator("#answered-by")
    told.get_by_text("in service since").wait_for()
    model = site.client.get("/model").json()
    assert told.inner_text().startswith(
        f"Answered by catalog-classifier, version {model['version']}, in service since "
    )
    moments = [each.get_attribute("datetime") for each in told.locator("time").all()]
    assert moments == [model["loaded_at"], model["created_at"]]
    kept = stored(lambda: database["predictions"].find_one(answer["id"]))
    assert (kept["description"], kept["source"], kept["model_version"]) == ("auteur tome", "one", model["version"])


def test_an_example_is_one_click(page: Page) -> None:
    """Who has no product at hand takes one of the page's."""
    page.locator(".example").first.click()
    page.locator("#categories li").first.wait_for()
    assert page.get_by_label("Title").input_value() == page.locator("#asked").inner_text() != ""
    page.get_by_role("button", name="Clear").click()
    assert page.get_by_label("Title").input_value() == "" and page.locator(".example").first.is_visible()


def test_a_hostile_title_is_text(page: Page) -> None:
    """HTML of a product is shown as it was written, and does nothing."""
    title = """<img src=x onerror="document.title='taken'"><script>document.title='taken'</script>"""
    classify(page, title)
    assert page.locator("#asked").inner_text() == title
    assert page.locator("main img, main script").count() == 0 and page.title().startswith("Which category?")


def test_what_is_too_long_or_missing(page: Page) -> None:
    """Said beside the field, which has the focus then; nothing is cut off, nothing is asked."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/predict" in request.url else None)
    title, submit = page.get_by_label("Title"), page.get_by_role("button", name="Find the category")
    for value, words in ((" ", "Write a title"), ("é" * 1200, "1,200 characters are too many: 1,000 is the most.")):
        title.fill(value)
        submit.click()
        assert words in page.locator("#designation-wrong").inner_text()
        assert title.get_attribute("aria-invalid") == "true" and title.input_value() == value
        assert page.evaluate("document.activeElement.id") == "designation" and asked == []
    title.fill("😀" * 1000)  # as the API counts: by characters, not by what JavaScript takes for them
    submit.click()
    page.locator("#answer").wait_for()
    assert len(asked) == 1 and title.get_attribute("aria-invalid") == "false"


def test_a_late_answer_does_not_replace_a_newer_one(page: Page) -> None:
    """Each answer is shown with the product that it is for."""
    held: list[Route] = []
    page.route("**/predict?*", lambda route: held.append(route) if not held else route.continue_())
    page.get_by_label("Title").fill("slow")
    page.get_by_role("button", name="Find the category").click()
    classify(page, "quick")
    with page.expect_response("**/predict?*"):
        held[0].continue_()
    page.wait_for_timeout(200)
    assert page.locator("#asked").inner_text() == "quick"


def test_feedback_is_one_click_once_signed_in(page: Page, database: Stored) -> None:
    """Wrong password, right password: what was said arrives, once; the next time nobody is asked."""
    first = classify(page)
    page.get_by_role("button", name="Yes, ").click()
    sign_in(page, "wrong")
    page.get_by_text("The name or the password is wrong.").wait_for()
    assert page.evaluate("document.activeElement.id") == "password"
    sign_in(page)
    best = first["categories"][0]
    page.locator("#thanks-words", has_text=f"Thank you. Noted as {best['name']}.").wait_for()
    assert page.locator("#who").inner_text() == USER
    assert page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
    page.get_by_role("button", name="Next product").click()
    second = classify(page, "magazine revue")
    page.get_by_label("No, it is").select_option(label="Pools")
    page.get_by_label("Comment").fill("Inflatable.")
    page.get_by_role("button", name="Send: Pools").click()
    page.locator("#thanks-words", has_text="Thank you. Noted as Pools.").wait_for()
    assert feedback_on(database, first) == [(best["code"], "", USER)]
    assert feedback_on(database, second) == [(2583, "Inflatable.", USER)]
    page.get_by_role("button", name="Sign out").click()
    assert page.locator("#who").is_hidden()


def test_all_categories_can_be_chosen(page: Page, site: Api) -> None:
    """All 27, by name, whatever the model thinks of."""
    classify(page)
    options = page.get_by_label("No, it is").locator("option").all_inner_texts()
    assert (
        sorted(options[1:]) == sorted(each["name"] for each in site.client.get("/categories").json())
        and len(options) == 28
    )


def test_an_answer_without_the_other_categories(page: Page) -> None:
    """Where these cannot be had, the answer is shown all the same, and they come with the next one."""
    page.route("**/categories", lambda route: route.fulfill(status=500, body="{}"), times=1)
    answer = classify(page)
    page.locator("#categories").get_by_text(answer["categories"][0]["name"], exact=True).wait_for()
    assert page.locator("#problem").is_hidden() and page.locator("#other option").count() == 0
    classify(page, "console manette")
    assert page.locator("#other option").count() == 28


def test_an_expired_session_loses_no_feedback(page: Page, database: Stored) -> None:
    """Sign in again, and it is sent: once."""
    past = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
    old = jwt.encode({"sub": USER, "iat": past - 60, "exp": past}, TOKEN_KEY, "HS256")
    answer = {"access_token": old, "token_type": "bearer", "expires_in": 60}
    page.route("**/token", lambda route: route.fulfill(json=answer), times=1)
    page.get_by_role("button", name="Sign in").click()
    sign_in(page, "any")
    prediction = classify(page)
    page.get_by_label("No, it is").select_option("10")
    with page.expect_response("**/feedback") as refused:
        page.get_by_role("button", name="Send: ").click()
    assert refused.value.status == 401 and "expired" in refused.value.json()["detail"]
    page.get_by_text(EXPIRED).wait_for()
    assert page.get_by_label("Name").input_value() == USER and page.get_by_label("Password").input_value() == ""
    sign_in(page)
    page.locator("#thanks-words", has_text="Thank you. Noted as Second-hand books.").wait_for()
    assert feedback_on(database, prediction) == [(10, "", USER)]


def test_a_sign_in_that_is_given_up(page: Page) -> None:
    """Escape: nothing is sent, the choice stays, and it says so."""
    classify(page)
    page.get_by_label("No, it is").select_option(label="Toys")
    page.get_by_role("button", name="Send: Toys").click()
    page.get_by_label("Password").fill("half")
    page.keyboard.press("Escape")
    page.get_by_text("Not sent: that needs a sign-in. Your choice is still here.").wait_for()
    assert page.get_by_role("button", name="Send: Toys").is_visible()
    assert page.get_by_label("Password", exact=True).input_value() == ""


def test_the_network_is_away(page: Page) -> None:
    """It says so, keeps the text, and goes on when the network is back."""
    page.get_by_label("Title").fill("roman")
    page.context.set_offline(True)
    page.get_by_role("button", name="Find the category").click()
    page.locator("#problem", has_text="The server cannot be reached.").wait_for()
    page.locator("#status", has_text="No connection").wait_for()
    assert page.get_by_label("Title").input_value() == "roman"
    page.context.set_offline(False)
    page.locator("#status", has_text="is ready").wait_for()
    page.locator("#problem").wait_for(state="hidden")
    classify(page, "roman")


def test_no_model_and_then_one(
    open_page: OpenPage, start_api: StartApi, registry: StandIn, classifiers: tuple[Classifier, Classifier]
) -> None:
    """Without a champion the page says why, and what to do; it notices the first one, and the next, with no reload."""
    with start_api(MLFLOW_TRACKING_URI=registry.url) as api:
        page = open_page(api)
        page.locator("#outage", has_text="train one (gigogne run --pipeline catalog)").wait_for()
        page.locator("#status", has_text="Not ready").wait_for()
        page.get_by_label("Title").fill("roman")
        page.get_by_role("button", name="Find the category").click()
        page.locator("#problem", has_text="No model answers now").wait_for()
        registry.promote(classifiers[0])
        page.locator("#status", has_text="Model version 1 is ready").wait_for()
        assert page.locator("#outage").is_hidden() and page.locator("#problem").is_hidden()
        assert classify(page, "roman")["model"]["version"] == 1
        registry.promote(classifiers[1])
        api.serves(2)
        assert classify(page, "another")["model"]["version"] == 2
        page.locator("#answered-by", has_text="version 2, in service since").wait_for()
        page.locator("#status", has_text="Model version 2 is ready").wait_for()


def test_too_many_requests(
    open_page: OpenPage, start_api: StartApi, registry: StandIn, classifiers: tuple[Classifier, Classifier]
) -> None:
    """The page says for how long, counts, and says when it is over."""
    registry.promote(classifiers[0])
    with start_api(MLFLOW_TRACKING_URI=registry.url, API_RATE=0.01, API_BURST=15) as api:
        api.serves(1)
        page = open_page(api)
        page.clock.install(time=0)
        page.clock.pause_at(1000)  # the browser's time is the test's from now on
        page.get_by_label("Title").fill("roman")
        status = 0
        while status != 429:
            with page.expect_response("**/predict?*") as answered:
                page.get_by_role("button", name="Find the category").click()
            status = answered.value.status
        seconds, problem = int(answered.value.headers["retry-after"]), page.locator("#problem")
        problem.get_by_text(f"Try again in {seconds} seconds.").wait_for()
        assert seconds > 10 and problem.locator(".left").inner_text() == f"{seconds} s"
        page.clock.run_for(10_000)
        assert problem.locator(".left").inner_text() == f"{seconds - 10} s"
        page.clock.run_for((seconds - 10) * 1000)
        assert problem.inner_text() == "You can try again now."


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (500, '{"detail": "what is inside"}', "The server failed (HTTP 500). Try again in a moment."),
        (502, "<html>of a proxy</html>", "The server failed (HTTP 502). Try again in a moment."),
        (200, "<html>of a proxy</html>", "The server failed (HTTP 200). Try again in a moment."),
        (413, "{}", "That is too much text for the server. Shorten the description."),
        (408, '{"detail": "Send it at once."}', "Send it at once."),
    ],
)
def test_refusals_in_words(open_page: OpenPage, site: Api, status: int, body: str, words: str) -> None:
    """What a server, or a proxy before it, may answer on a bad day."""
    page = open_page(site)
    page.route("**/predict?*", lambda route: route.fulfill(status=status, body=body))
    page.get_by_label("Title").fill("roman")
    page.get_by_role("button", name="Find the category").click()
    page.locator("#problem").get_by_text(words, exact=True).wait_for()
    page.unroute("**/predict?*")
    classify(page)
    assert page.locator("#problem").is_hidden()


def test_no_answer_at_all(page: Page) -> None:
    """The page does not wait for ever."""
    page.evaluate(HURRY)
    page.route("**/predict?*", lambda route: None)
    page.get_by_label("Title").fill("roman")
    page.get_by_role("button", name="Find the category").click()
    page.locator("#problem", has_text="The server takes too long to answer. Try again in a moment.").wait_for()


def test_what_the_api_does_not_accept(page: Page) -> None:
    """The API's words are shown, beside the field where they are about one."""
    title, submit = page.get_by_label("Title"), page.get_by_role("button", name="Find the category")
    title.fill("roman")
    page.get_by_label("Description").evaluate("(field) => { field.value = 'half a character: \\ud83d' }")
    with page.expect_response("**/predict?*") as answered:
        submit.click()
    assert answered.value.status == 422
    page.locator("#problem").get_by_text(answered.value.json()["detail"], exact=True).wait_for()
    mistake = {"where": "body.designation", "what": "is not a title"}
    page.route("**/predict?*", lambda route: route.fulfill(status=422, json={"errors": [mistake]}))
    submit.click()
    page.locator("#designation-wrong").get_by_text("is not a title").wait_for()
    assert title.get_attribute("aria-invalid") == "true"


def test_files_of_the_page(site: Api) -> None:
    """From this server alone, with no script but its own; what a browser has already is not sent again."""
    for path in ("/", "/page/page.css", "/page/page.js", "/page/icon.svg"):
        answer = site.client.get(path)
        assert answer.status_code == 200 and answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'; ")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        again = site.client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status_code == 304 and again.content == b"" and again.headers["ETag"] == answer.headers["ETag"]
        assert not re.search(rb"(src|href|url\(|import)\W{0,3}(https?:)?//", answer.content)
    for path in ("/page/", "/page/none.js", "/page/..%2fpages.py", "/page/index.html.bak"):
        assert site.client.get(path).status_code == 404
