"""The annotator's, the reviewer's and the manager's page in a real browser, over Kafka and Redis."""

import re

import pytest
from playwright.sync_api import expect

from serving.labelling.uploads import NewItem
from tests.serving.labelling.browser import HOSTILE, PHONE, add, answers, people, picture, schema, stroke
from tests.serving.labelling.project import PASSWORD

pytestmark = pytest.mark.stack

LABEL = "a:visible, button:visible, input:visible, select:visible, textarea:visible"


def texts(web, *words, kind="single", names=("Cat", "Dog"), **more):
    web.desk.project(web.name, schema=schema(kind, "text", *names), overlap=(2, 3), **more)
    return add(web.desk, web.name, *(NewItem(id=f"i{n}", text=word) for n, word in enumerate(words)))


def eventually(page, web, wanted):
    """The answers come to be these; the page goes on meanwhile."""
    expect(page.locator(".tally")).to_have_text(re.compile(rf"^{len(wanted)} answered"))
    assert answers(web.desk, web.name) == wanted


def test_an_invited_annotator_joins_and_labels_by_keyboard_alone(web):
    texts(web, "it purrs", "it barks", "it mews")
    people(web.desk, web.name, manager="boss2")
    manager = web.open(f"/manage?project={web.name}&tab=members", who="boss2")
    manager.fill("#invite input[name=name]", "newcomer")
    manager.click("#invite button.primary")
    link = manager.locator("#invitation").input_value()
    page = web.open(link.removeprefix(web.url))
    page.keyboard.type(PASSWORD)  # the code is in the address, so the password has the focus
    page.keyboard.press("Enter")
    expect(page.get_by_text("it purrs")).to_be_visible()
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.get_by_text("it barks")).to_be_visible()
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    eventually(page, web, {("i0", "newcomer"): "cat", ("i1", "newcomer"): "cat"})
    # A slip is taken back: its item comes again with what was said, and the answer is no more.
    page.keyboard.press("u")
    expect(page.get_by_text("it barks")).to_be_visible()
    expect(page.get_by_label("Cat")).to_be_checked()
    assert answers(web.desk, web.name) == {("i0", "newcomer"): "cat"}
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.get_by_text("it mews")).to_be_visible()
    page.keyboard.press("s")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing to label for now")).to_be_visible()
    assert answers(web.desk, web.name) == {("i0", "newcomer"): "cat", ("i1", "newcomer"): "dog"}
    with web.desk.service.book.reading(web.name) as state:
        assert state.items["i2"].skipped == {"newcomer"}
    web.clean("error: Failed to load resource: the server responded with a status of 401")


def test_a_draft_outlives_the_page_and_the_browser(web):
    texts(web, "write me down", kind="transcription", names=())
    people(web.desk, web.name, "ada")
    page = web.open("/", who="ada")
    page.fill("#transcription", "half a sen")
    expect(page.locator(".saved")).to_have_text("Draft saved")
    page.reload()
    expect(page.locator("#transcription")).to_have_value("half a sen")
    # Another browser of hers has it from the server.
    other = web.open("/", who="ada")
    expect(other.locator("#transcription")).to_have_value("half a sen")
    other.locator("#transcription").press("End")
    other.keyboard.type("tence")
    other.keyboard.press("Control+Enter")
    expect(other.get_by_text("Nothing to label for now")).to_be_visible()
    assert answers(web.desk, web.name) == {("i0", "ada"): "half a sentence"}
    web.clean()


def test_a_lease_that_ran_out_is_said_so_and_sends_nothing(web):
    texts(web, "slow", lease=3.0)
    people(web.desk, web.name, "ada")
    page = web.open("/", who="ada")
    expect(page.get_by_text("slow", exact=True)).to_be_visible()
    page.keyboard.press("1")
    alert = page.get_by_role("alert").filter(has_text="Time is up")
    expect(alert).to_be_visible()
    expect(alert).to_contain_text("Nothing was sent")
    expect(page.locator("#send")).to_be_disabled()
    assert answers(web.desk, web.name) == {}
    page.keyboard.press("Enter")
    expect(alert).to_be_hidden()
    expect(page.get_by_text("slow", exact=True)).to_be_visible()
    web.clean()


def test_an_answer_waits_while_the_server_is_not_reached(web):
    texts(web, "one", "two")
    people(web.desk, web.name, "ada")
    page = web.open("/", who="ada")
    expect(page.get_by_text("one", exact=True)).to_be_visible()
    page.context.set_offline(True)
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.get_by_text("One answer waits here")).to_be_visible()
    expect(page.get_by_text("two", exact=True)).to_be_visible()  # it was there beforehand
    page.context.set_offline(False)
    expect(page.get_by_text("One answer waits here")).to_be_hidden()
    assert answers(web.desk, web.name) == {("i0", "ada"): "cat"}
    web.clean("error: Failed to load resource: net::ERR_INTERNET_DISCONNECTED")


def test_one_key_takes_the_models_suggestion(web):
    web.desk.project(web.name, schema=schema("single", "text", "Cat", "Dog"))
    guess = {"value": "dog", "confidence": 0.83, "model": "pets@12"}
    add(web.desk, web.name, NewItem(id="i0", text="it barks", prelabel=guess), NewItem(id="i1", text="next"))
    people(web.desk, web.name, "ada")
    page = web.open("/", who="ada")
    strip = page.get_by_label("Suggestion of a model")
    expect(strip).to_contain_text("Dog")
    expect(strip).to_contain_text("pets@12 · 83 % sure")
    page.keyboard.press("a")
    expect(page.get_by_text("next", exact=True)).to_be_visible()
    eventually(page, web, {("i0", "ada"): "dog"})
    web.clean()


def test_boxes_are_drawn_moved_resized_named_and_removed_by_mouse_and_by_keyboard(web):
    web.desk.project(web.name, schema=schema("boxes", "image", "Red", "White"))
    add(web.desk, web.name, NewItem(id="i0", media=picture(200, 100, (20, 20, 60, 40))))
    people(web.desk, web.name, "ada", "bo")
    page = web.open("/", who="ada")
    image = page.locator(".canvas img")
    expect(image).to_be_visible()
    place = image.bounding_box()
    scale = place["width"] / 200

    def at(x, y):
        return place["x"] + x * scale, place["y"] + y * scale

    def drag(start, end):
        page.mouse.move(*at(*start))
        page.mouse.down()
        page.mouse.move(*at((start[0] + end[0]) / 2, (start[1] + end[1]) / 2))
        page.mouse.move(*at(*end))
        page.mouse.up()

    drag((20, 20), (80, 60))  # draw
    drag((50, 40), (60, 50))  # move by ten
    drag((90, 70), (100, 80))  # the lower right corner
    drag((120, 10), (150, 40))  # another one
    page.keyboard.press("2")
    expect(page.locator(".box-list li")).to_have_count(2)
    page.locator(".box-list button[aria-label='Remove box 1']").click()
    page.keyboard.press("Control+z")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing to label for now")).to_be_visible()
    first, second = answers(web.desk, web.name)["i0", "ada"]
    assert first[0] == "red" and first[1:] == pytest.approx([30, 30, 70, 50], abs=0.6)
    assert second[0] == "white" and second[1:] == pytest.approx([120, 10, 30, 30], abs=0.6)

    page = web.open("/", who="bo")
    expect(page.locator(".canvas img")).to_be_visible()
    page.keyboard.press("n")  # a third of the picture, in its middle
    page.keyboard.press("2")
    for key in ("Shift+ArrowLeft", "ArrowUp", "Control+Shift+ArrowRight", "Control+ArrowDown"):
        page.keyboard.press(key)
    page.keyboard.press("n")
    page.keyboard.press(",")
    page.keyboard.press(".")
    page.keyboard.press("Delete")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing to label for now")).to_be_visible()
    (box,) = answers(web.desk, web.name)["i0", "bo"]
    assert box[0] == "white"
    assert box[1:] == pytest.approx([200 / 3 - 10, 100 / 3 - 1, 200 / 3 + 10, 100 / 3 + 1], abs=0.2)
    web.clean()


def test_a_box_is_drawn_by_touch_on_a_phone_and_nothing_is_wider_than_it(web):
    web.desk.project(web.name, schema=schema("boxes", "image", "Red", "White"))
    add(web.desk, web.name, NewItem(id="i0", media=picture(200, 100, (20, 20, 60, 40))))
    people(web.desk, web.name, "ada")
    page = web.open("/", who="ada", size=PHONE)
    image = page.locator(".canvas img")
    expect(image).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    place = image.bounding_box()
    scale = place["width"] / 200
    points = ((20, 20), (60, 50), (80, 60))
    stroke(page, *((place["x"] + x * scale, place["y"] + y * scale) for x, y in points))
    expect(page.locator(".box-list li")).to_have_count(1)
    page.locator(".box-panel label", has_text="White").tap()
    expect(page.locator(".box-list li")).to_contain_text("White")
    page.locator("#send").tap()
    expect(page.get_by_text("Nothing to label for now")).to_be_visible()
    (box,) = answers(web.desk, web.name)["i0", "ada"]
    assert box[0] == "white" and box[1:] == pytest.approx([20, 20, 60, 40], abs=1.5)
    web.clean()


def test_nothing_that_a_label_an_item_or_a_name_holds_ever_runs(web):
    names = (HOSTILE, "javascript:alert(3)")
    made = schema("single", "row", *names, instructions=HOSTILE)
    web.desk.project(web.name, schema=made, overlap=(1, 1))
    guess = {"value": HOSTILE.lower(), "confidence": 0.5, "model": HOSTILE}
    add(
        web.desk,
        web.name,
        NewItem(id=HOSTILE, payload={HOSTILE: HOSTILE, "url": "https://example.org/x.png"}, prelabel=guess),
    )
    people(web.desk, web.name, "ada", reviewer="rex", manager="mo")
    page = web.open("/", who="ada")
    expect(page.locator(".row td").first).to_have_text(HOSTILE)
    expect(page.locator(".instructions p")).to_have_text(HOSTILE)
    expect(page.locator(".guess")).to_have_text(HOSTILE)
    page.keyboard.press("?")
    page.keyboard.press("Escape")
    page.keyboard.press("s")
    page.get_by_placeholder("Another reason").fill(HOSTILE)
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing to label for now")).to_be_visible()
    manager = web.open("/manage", who="mo")
    for tab in ("overview", "quality", "disputes", "items", "members", "classes", "settings"):
        manager.click(f"#tab-{tab}")
        expect(manager.locator(f"#view-{tab} > *").first).to_be_visible()
        assert manager.locator("img[src=x], main script").count() == 0
    # And what would run is not let in by the policy: nothing inline, nothing from elsewhere.
    assert page.evaluate("(() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
                         " document.body.append(s); return window.ran; })()") is None  # fmt: skip
    web.said = [text for text in web.said if "script-src" not in text and "inline script" not in text]
    web.clean()


def test_a_reviewer_sees_all_answers_side_by_side_and_decides(web):
    texts(web, "it mews or barks")
    people(web.desk, web.name, "ada", "bo", reviewer="rex")
    for name, key in (("ada", "1"), ("bo", "2")):
        page = web.open("/", who=name)
        expect(page.get_by_text("it mews or barks")).to_be_visible()
        page.keyboard.press(key)
        page.keyboard.press("Enter")
        expect(page.get_by_text("Nothing to label for now")).to_be_visible()
    page = web.open("/", who="rex")
    expect(page.locator(".answer")).to_have_count(2)
    expect(page.locator(".answer").nth(1)).to_contain_text("bo")
    page.keyboard.press("Control+2")
    expect(page.get_by_role("radio", name="Dog")).to_be_checked()
    page.fill("#note", "it barks in the sound")
    page.locator("#note").press("Control+Enter")
    expect(page.get_by_text("Nothing to decide")).to_be_visible()
    with web.desk.service.book.reading(web.name) as state:
        review = state.items["i0"].review
        assert (review.value, review.by, review.note) == ("dog", "rex", "it barks in the sound")
    web.clean()


@pytest.mark.slow
def test_a_manager_looks_after_items_classes_members_and_money(web, tmp_path):
    texts(web, "it purrs", cost=0.5, budget=10.0)
    people(web.desk, web.name, "ada", manager="mo")
    page = web.open("/", who="ada")
    expect(page.get_by_text("it purrs")).to_be_visible()
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing to label for now")).to_be_visible()
    page.context.close()  # it would look for new items, and hold them
    page = web.open(f"/manage?project={web.name}", who="mo")
    expect(page.locator(".figure", has_text="Spent")).to_contain_text("0.50")
    expect(page.locator(".figure", has_text="Spent")).to_contain_text("of 10.00")
    page.click("#tab-items")
    (tmp_path / "more.csv").write_text("text\nit barks\nit mews\n")
    page.set_input_files("#upload input[name=files]", str(tmp_path / "more.csv"))
    page.click("#upload button.primary")
    expect(page.locator(".upload")).to_contain_text("2 of 2 added")
    page.click("#tab-classes")
    page.fill("#add-class input[name=id]", "cow")
    page.click("#add-class button.primary")
    expect(page.get_by_text("Classes, version 2")).to_be_visible()
    page.get_by_role("row", name="Dog").get_by_role("button", name="Rename").click()
    page.get_by_label("New name").fill("Hound")
    page.get_by_role("button", name="Change", exact=True).click()
    expect(page.get_by_role("row", name="Hound")).to_be_visible()
    page.get_by_role("row", name="cow").get_by_role("button", name="Merge").click()
    page.get_by_label("Into", exact=True).select_option(label="Hound")
    page.get_by_role("button", name="Change", exact=True).click()
    expect(page.get_by_text("merged into Hound")).to_be_visible()
    page.click("#tab-members")
    page.get_by_role("row", name="ada").get_by_role("button", name="Change").click()
    page.get_by_label("Restricted, because").fill("too fast")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("restricted: too fast")).to_be_visible()
    page.click("#tab-quality")
    expect(page.get_by_role("row", name="ada")).to_contain_text("restricted: too fast")
    with web.desk.service.book.reading(web.name) as state:
        assert [c.into for c in state.now.schema.classes] == ["", "", "dog"] and len(state.items) == 3
    page = web.open("/", who="ada")
    expect(page.get_by_text("You get no more items for now")).to_be_visible()
    web.clean()


def test_every_control_has_a_name_and_the_focus_can_be_seen(web):
    texts(web, "it purrs")
    people(web.desk, web.name, "ada", reviewer="rex", manager="mo")
    nameless = """els => els.filter(e => !(e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim()
        || e.getAttribute('aria-labelledby'))).map(e => e.outerHTML)"""
    manager = web.open("/manage", who="mo")
    looks = [(web.open("/"), ""), (web.open("/", who="ada"), "")]
    looks += [(manager, tab) for tab in ("overview", "quality", "items", "members", "classes", "settings")]
    for page, tab in looks:
        if tab:
            page.click(f"#tab-{tab}")
            expect(page.locator(f"#view-{tab} > *").first).to_be_visible()
        expect(page.locator("main > *").first).to_be_visible()
        expect(page.locator("button:visible").first).to_be_visible()
        assert page.eval_on_selector_all(LABEL, nameless) == []
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        seen = page.evaluate(
            "getComputedStyle(document.activeElement.closest('.option') ?? document.activeElement).outlineStyle"
        )
        assert seen == "solid", page.evaluate("document.activeElement.outerHTML")
    web.clean("error: Failed to load resource: the server responded with a status of 401")
