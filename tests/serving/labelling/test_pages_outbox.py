"""Answers that wait in a browser, which people share and in which several tabs are open."""

import pytest
from playwright.sync_api import expect

from serving.labelling.uploads import NewItem
from tests.serving.labelling.browser import add, answers, people, schema

pytestmark = pytest.mark.stack
AWAY = "error: Failed to load resource"


@pytest.fixture
def web(web):
    web.desk.project(web.name, schema=schema("single", "text", "Cat", "Dog"), overlap=(2, 3))
    add(web.desk, web.name, *(NewItem(id=f"i{n}", text=f"word {n}") for n in range(3)))
    people(web.desk, web.name, "ada", "bo")
    return web


def sign_in(web, page, who):
    token = web.desk.accounts.begin(who)
    page.context.add_cookies([{"name": "tidemill-labelling", "value": token, "url": web.url}])


def waiting(page):
    return page.evaluate("Object.keys(localStorage).filter(key => key.startsWith('tidemill.outbox')).length")


def answer_unreached(page, key):
    """Answer the item in hand while the server takes none."""
    page.keyboard.press(key)
    page.keyboard.press("Enter")
    expect(page.get_by_text("wait")).to_be_visible()


def test_what_one_leaves_behind_waits_for_them_while_another_labels(web):
    page = web.open("/", who="ada")
    expect(page.get_by_text("word 0", exact=True)).to_be_visible()
    page.route("**/answers", lambda route: route.abort())
    answer_unreached(page, "1")
    page.unroute("**/answers")
    page.goto("about:blank")
    sign_in(web, page, "bo")
    page.goto(f"{web.url}/?project={web.name}")
    expect(page.locator(".who")).to_have_text("bo")
    expect(page.get_by_text("word 0", exact=True)).to_be_visible()
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.locator(".tally")).to_have_text("1 answered")
    assert answers(web.desk, web.name) == {("i0", "bo"): "dog"} and waiting(page) == 1
    sign_in(web, page, "ada")
    page.goto(f"{web.url}/?project={web.name}")
    expect(page.locator(".tally")).to_have_text("1 answered")
    assert answers(web.desk, web.name) == {("i0", "bo"): "dog", ("i0", "ada"): "cat"} and waiting(page) == 0
    web.clean(AWAY)


def test_an_answer_is_kept_where_another_tab_signed_somebody_else_in(web):
    page = web.open("/", who="ada")
    expect(page.get_by_text("word 0", exact=True)).to_be_visible()
    sign_in(web, page, "bo")
    with page.expect_response("**/api/me"):
        page.keyboard.press("1")
        page.keyboard.press("Enter")
    assert (answers(web.desk, web.name), waiting(page)) == ({}, 1)
    sign_in(web, page, "ada")
    page.reload()
    expect(page.locator(".tally")).to_have_text("1 answered")
    assert (answers(web.desk, web.name), waiting(page)) == ({("i0", "ada"): "cat"}, 0)
    web.clean(AWAY)


def test_two_tabs_keep_each_others_answers(web):
    one = web.open("/", who="ada")
    expect(one.get_by_text("word 0", exact=True)).to_be_visible()
    two = one.context.new_page()
    two.goto(f"{web.url}/?project={web.name}")
    expect(two.get_by_text("word 0", exact=True)).to_be_visible()
    one.context.route("**/answers", lambda route: route.abort())
    answer_unreached(one, "1")
    one.keyboard.press("2")
    one.keyboard.press("Enter")
    expect(one.get_by_text("2 answers wait")).to_be_visible()
    answer_unreached(two, "1")
    assert waiting(one) == 2  # of two leases: the same item's answer is one
    one.context.unroute("**/answers")
    expect(one.get_by_text("answers wait")).to_be_hidden()
    two.reload()
    expect(two.get_by_text("word 2", exact=True)).to_be_visible()
    assert answers(web.desk, web.name) == {("i0", "ada"): "cat", ("i1", "ada"): "dog"} and waiting(two) == 0
    web.clean(AWAY)
