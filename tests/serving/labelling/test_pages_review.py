"""A reviewer's lists and look-up, and a manager's matrices, in a real browser."""

import pytest
from playwright.sync_api import expect

from serving.labelling.uploads import NewItem
from tests.serving.labelling.browser import PHONE, add, people, schema
from tidemill.label_events import DOUBTFUL, AnswerGiven, LabelAsked, LabelReviewed

pytestmark = pytest.mark.stack


def given(web, about, by, value):
    event = AnswerGiven(id=f"{about}/{by}", time=1, about=about, by=by, value=value)
    web.desk.service.book.append(web.name, [event])


def review(web, about):
    with web.desk.service.book.reading(web.name) as state:
        return state.items[about].review


def test_a_doubted_label_is_confirmed_and_a_decision_is_corrected_and_taken_back(web):
    web.desk.project(web.name, schema=schema("single", "text", "Cat", "Dog"), overlap=(2, 2))
    add(web.desk, web.name, *(NewItem(id=id, text=f"text of {id}") for id in ("a/1", "b")))
    people(web.desk, web.name, "ada", reviewer="rex")
    web.desk.service.record(web.name, LabelReviewed(id="", time=0, about="a/1", by="import", value="cat"))
    guess = {"value": "dog", "confidence": 0.91, "model": "pets@3"}
    web.desk.service.record(web.name, LabelAsked(id="", time=0, about="a/1", reason=DOUBTFUL, prelabel=guess))
    page = web.open("/", who="rex")
    label = page.get_by_label("Label", exact=True)
    expect(label).to_contain_text("Doubted: a model takes it for Dog")
    expect(label).to_contain_text("pets@3 · 91 % sure")
    expect(page.get_by_role("radio", name="Cat")).to_be_checked()  # what stands, to be confirmed
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing to decide")).to_be_visible()
    assert (review(web, "a/1").by, review(web, "a/1").value) == ("rex", "cat")

    page.fill("#find-item", "nothing")
    page.click("text=Look up")
    expect(page.get_by_role("alert")).to_contain_text("There is no item nothing.")
    page.fill("#find-item", "b")
    page.keyboard.press("Enter")
    expect(page.get_by_role("article", name="Item b")).to_be_visible()
    page.locator("main").focus()
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(label).to_contain_text("decided by rex")
    page.click("#list-decided")
    expect(page.locator(".queue h2")).to_have_text("2 decided")
    expect(page.get_by_role("article", name="Item b")).to_be_visible()  # the latest first
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(label).to_contain_text("Cat")
    assert review(web, "b").value == "cat"
    page.click("#take-back")
    expect(page.locator(".queue h2")).to_have_text("1 decided")
    assert review(web, "b") is None and review(web, "a/1").value == "cat"
    phone = web.open("/?tab=review", who="rex", size=PHONE)
    phone.click("#list-decided")
    expect(phone.locator(".queue h2")).to_have_text("1 decided")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    web.clean("error: Failed to load resource: the server responded with a status of 404")


def test_a_manager_sees_what_annotators_mistake_beside_consensus_and_gold(web):
    web.desk.project(web.name, schema=schema("multi", "text", "Cat", "Dog"), overlap=(2, 2))
    add(web.desk, web.name, NewItem(id="g", text="gold", gold=["cat"]), NewItem(id="i", text="plain"))
    people(web.desk, web.name, "ada", "bo", manager="mo")
    given(web, "g", "ada", ["dog"])
    for who, said in (("ada", ["cat", "dog"]), ("bo", ["dog"])):
        given(web, "i", who, said)
    web.desk.service.record(web.name, LabelReviewed(id="", time=0, about="i", by="mo", value=["dog"]))
    page = web.open("/manage?tab=quality", who="mo")
    expect(page.get_by_role("heading", name="What annotators mistake gold for")).to_be_visible()
    tables = page.locator(".heat")
    expect(tables.locator("caption")).to_have_text(["ada: Cat", "ada: Cat", "ada: Dog"])
    expect(tables.nth(1).locator("tbody tr").nth(1).locator("td")).to_have_text(["1", ""])  # it is, and she said no
    page.click("#tab-items")
    page.fill("#assign textarea", "i")
    page.fill("#assign input[name=to]", "nobody")
    page.click("#assign button.primary")
    expect(page.locator("#assign .wrong")).to_contain_text("no annotator of this project")
    page.fill("#assign input[name=to]", "ada")
    page.click("#assign button.primary")
    expect(page.get_by_text("1 item is assigned.")).to_be_visible()
    with web.desk.service.book.reading(web.name) as state:
        assert state.items["i"].asked.annotators == ["ada"]
    web.clean("error: Failed to load resource: the server responded with a status of 400")
