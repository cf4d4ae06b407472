"""Three annotators and a reviewer take classes and boxes to consensus, in browsers, over Kafka and Redis, with the
consensus job beside them: one at a desk with a mouse, one by keyboard alone, one by touch on a phone."""

import threading
import time

import pytest
from playwright.sync_api import Page, expect

from serving.labelling.uploads import NewItem
from streams.engines.local import LocalEngine
from streams.labelling.consensus import Consensus
from streams.state_store import FolderStore
from tests.serving.labelling.browser import PHONE, add, answers, people, picture, schema, stroke
from tests.serving.labelling.project import PASSWORD
from tidemill.engine import Parts
from tidemill.events import LabelGiven
from tidemill.label_events import LabelEstimated, LabelRevised, LabelSettled
from tidemill.stream import answer_stream
from tidemill.time import SystemClock

pytestmark = [pytest.mark.stack, pytest.mark.slow]

CELL = (60, 20, 60, 40)
SECOND = (130, 50, 30, 30)


@pytest.fixture
def agreed(web, tmp_path):
    """Starts the consensus job of the project; it runs until the test ends."""
    stop, threads, failed = threading.Event(), [], []

    def start() -> None:
        job = Consensus(project=web.name, method="majority").job()
        streams = {f"answers.{web.name}": answer_stream(web.name)}
        store = FolderStore(str(tmp_path / "state"))
        parts = Parts(log=web.desk.log, store=store, clock=SystemClock(), streams=streams)

        def run() -> None:
            try:
                LocalEngine().run(job, parts, stop.is_set)
            except BaseException as error:
                failed.append(error)

        threads.append(threading.Thread(target=run, daemon=True))
        threads[0].start()

    yield start
    stop.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert failed == []


def by_keyboard(web, name: str) -> Page:
    """Logs in by keys alone; the name has the focus."""
    page = web.open(f"/?project={web.name}")
    expect(page.locator("input[name=name]")).to_be_focused()
    page.keyboard.type(name)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    return page


def labels(web, kind, about):
    return [event for event in web.desk.kept(web.name, kind) if event.about == about]


def settled(web, about):
    """What the item is taken for, once that is settled."""
    deadline = time.monotonic() + 60
    while True:
        with web.desk.service.book.reading(web.name) as state:
            item = state.items[about]
            if item.settled:
                return item.value
        assert time.monotonic() < deadline, f"{about} is not settled"
        time.sleep(0.05)


def done(page: Page) -> None:
    expect(page.get_by_text("Nothing to label for now")).to_be_visible()


def test_classes_come_to_consensus_and_the_reviewer_has_the_last_word(web, agreed):
    web.desk.project(web.name, schema=schema("single", "text", "Cat", "Dog"), overlap=(3, 3))
    add(web.desk, web.name, *(NewItem(id=f"i{n}", text=t) for n, t in enumerate(("it purrs", "it barks", "who knows"))))
    people(web.desk, web.name, "ada", "bo", "cy", reviewer="rex")
    agreed()
    votes = {"ada": "Cat Dog Cat", "bo": "Cat Dog Dog", "cy": "Cat Dog Dog"}

    mouse = web.open("/", who="ada")
    for text, name in zip(("it purrs", "it barks", "who knows"), votes["ada"].split(), strict=True):
        expect(mouse.get_by_text(text)).to_be_visible()
        mouse.locator(".option", has_text=name).click()
        mouse.click("#send")
    done(mouse)

    keys = by_keyboard(web, "bo")
    for text, name in zip(("it purrs", "it barks", "who knows"), votes["bo"].split(), strict=True):
        expect(keys.get_by_text(text)).to_be_visible()
        keys.keyboard.press({"Cat": "1", "Dog": "2"}[name])
        keys.keyboard.press("Enter")
    done(keys)

    phone = web.open("/", who="cy", size=PHONE)
    for text, name in zip(("it purrs", "it barks", "who knows"), votes["cy"].split(), strict=True):
        expect(phone.get_by_text(text)).to_be_visible()
        phone.locator(".option", has_text=name).tap()
        phone.locator("#send").tap()
    done(phone)

    given = {(f"i{n}", who): v.lower() for who, all in votes.items() for n, v in enumerate(all.split())}
    assert answers(web.desk, web.name) == given
    assert [settled(web, f"i{n}") for n in range(3)] == ["cat", "dog", "dog"]

    review = web.open("/", who="rex")
    expect(review.locator(".answer")).to_have_count(3)
    expect(review.locator(".view .text")).to_have_text("who knows")
    expect(review.locator(".posterior")).to_contain_text("67 %")
    review.keyboard.press("Control+1")
    expect(review.get_by_role("radio", name="Cat")).to_be_checked()
    review.keyboard.press("Enter")
    expect(review.get_by_text("Nothing to decide")).to_be_visible()
    deadline = time.monotonic() + 60
    while not labels(web, LabelRevised, "i2"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (revised,) = labels(web, LabelRevised, "i2")
    assert (revised.before, revised.value) == ("dog", "cat")
    # What learners of the stream read: one label, and its correction.
    assert [(e.value, e.by) for e in labels(web, LabelGiven, "i2")][-1][0] == "cat"
    assert {e.value for e in labels(web, LabelGiven, "i0")} == {"cat"}
    assert len(labels(web, LabelEstimated, "i0")) >= 3
    web.clean("error: Failed to load resource: the server responded with a status of 401")


def test_boxes_come_to_consensus(web, agreed):
    web.desk.project(web.name, schema=schema("boxes", "image", "Red", "White"), overlap=(3, 3))
    media = picture(200, 100, CELL, SECOND)
    add(web.desk, web.name, NewItem(id="cells", media=media))
    people(web.desk, web.name, "ada", "bo", "cy", reviewer="rex")
    agreed()

    def frame(page):
        image = page.locator(".show > .view .canvas img").first
        expect(image).to_be_visible()
        place = image.bounding_box()
        scale = place["width"] / 200
        return lambda x, y: (place["x"] + x * scale, place["y"] + y * scale)

    mouse = web.open("/", who="ada")
    at = frame(mouse)
    for x, y, w, h in (CELL, SECOND):
        mouse.mouse.move(*at(x, y))
        mouse.mouse.down()
        mouse.mouse.move(*at(x + w, y + h), steps=4)
        mouse.mouse.up()
    expect(mouse.locator(".box-list li")).to_have_count(2)
    mouse.click("#send")
    done(mouse)

    # By keyboard a box begins as a third of the picture in its middle: 66.7 x 33.3 at 66.7, 33.3.
    keys = by_keyboard(web, "bo")
    frame(keys)
    keys.keyboard.press("n")
    for key, times in (("ArrowLeft", 6), ("ArrowUp", 13), ("Control+ArrowLeft", 6), ("Control+ArrowDown", 6)):
        for _ in range(times):
            keys.keyboard.press(key)
    expect(keys.locator(".box-list li")).to_have_count(1)
    keys.keyboard.press("Enter")
    done(keys)

    phone = web.open("/", who="cy", size=PHONE)
    at = frame(phone)
    x, y, w, h = CELL
    stroke(phone, at(x + 1, y - 1), at(x + w / 2, y + h / 2), at(x + w + 1, y + h - 1))
    expect(phone.locator(".box-list li")).to_have_count(1)
    phone.locator("#send").tap()
    done(phone)

    # Two boxes that one annotator saw alone are no consensus of three: the cell that all saw is, with averaged corners.
    (box,) = settled(web, "cells")
    said = answers(web.desk, web.name)
    mean = [sum(said["cells", who][0][i] for who in ("ada", "bo", "cy")) / 3 for i in range(1, 5)]
    assert box[0] == "red" and box[1:] == pytest.approx(mean, abs=2.0) and mean == pytest.approx(CELL, abs=2.5)

    review = web.open("/", who="rex")
    expect(review.locator(".answer")).to_have_count(3)
    expect(review.locator(".answer .stage.small")).to_have_count(3)
    review.locator(".answer", has_text="ada").get_by_role("button", name="Take this").click()
    expect(review.locator(".box-list li")).to_have_count(2)
    review.keyboard.press("Enter")
    expect(review.get_by_text("Nothing to decide")).to_be_visible()
    deadline = time.monotonic() + 60
    while len(labels(web, LabelRevised, "cells")) < 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert labels(web, LabelSettled, "cells")[0].value == settled(web, "cells") or len(settled(web, "cells")) == 2
    assert len(labels(web, LabelGiven, "cells")[-1].value) == 2
    web.clean("error: Failed to load resource: the server responded with a status of 401")
