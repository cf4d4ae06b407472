"""The keys of classes on the pages are those that the API tells, in a real browser."""

import re

import pytest
from playwright.sync_api import expect

from serving.labelling.uploads import NewItem
from tests.serving.labelling.browser import add, answers, people, schema

pytestmark = pytest.mark.stack


def test_the_pages_bind_the_keys_that_the_server_tells_and_a_reserved_one_is_refused(web):
    web.desk.project(web.name, schema=schema("single", "text", "1", "0", "Other"), overlap=(1, 1))
    add(web.desk, web.name, NewItem(id="i0", text="a nought"), NewItem(id="i1", text="a thing"))
    people(web.desk, web.name, "ada", manager="mo")
    page = web.open("/", who="ada")
    expect(page.get_by_text("a nought")).to_be_visible()
    told = page.evaluate(f"fetch('/api/projects/{web.name}').then(r => r.json()).then(p => p.hotkeys)")
    assert told == {"1": "1", "0": "0", "other": "2"}
    for name in ("0", "1", "Other"):
        key = page.get_by_role("radio", name=name).get_attribute("aria-keyshortcuts")
        assert key == told[name.lower()]
    page.keyboard.press("0")
    page.keyboard.press("Enter")
    expect(page.get_by_text("a thing")).to_be_visible()
    expect(page.locator(".tally")).to_have_text(re.compile("^1 answered"))
    assert answers(web.desk, web.name) == {("i0", "ada"): "0"}

    manager = web.open("/manage", who="mo")
    manager.click("#tab-classes")
    expect(manager.get_by_role("row", name="Other")).to_contain_text("2")
    manager.fill("#add-class input[name=id]", "sky")
    manager.fill("#add-class input[name=hotkey]", "s")
    manager.click("#add-class button.primary")
    expect(manager.locator("#add-class .wrong")).to_contain_text("the key means something else on the page")
    web.clean("error: Failed to load resource: the server responded with a status of 400")
