"""A picture is zoomed by wheel, by keys, by buttons and by two fingers, and what is drawn on it then lies where it was
drawn, in pixels of the picture."""

import time

import pytest
from playwright.sync_api import expect

from serving.labelling.uploads import NewItem
from tests.serving.labelling.browser import PHONE, add, answers, people, picture, schema, stroke

pytestmark = pytest.mark.stack

WIDTH, HEIGHT = 400, 300
CELL = (200, 120, 60, 40)


@pytest.fixture
def web(web):
    web.desk.project(web.name, schema=schema("boxes", "image", "Red", "White"), overlap=(1, 1))
    people(web.desk, web.name, "ada")
    add(web.desk, web.name, NewItem(id="i0", media=picture(WIDTH, HEIGHT, CELL)))
    return web


class Seen:
    """The picture as it lies in the window now."""

    def __init__(self, page):
        self.page, self.image = page, page.locator(".canvas img")
        expect(self.image).to_be_visible()
        page.wait_for_function("document.querySelector('.canvas').style.width !== ''")

    @property
    def scale(self):
        return self.image.bounding_box()["width"] / WIDTH

    def at(self, x, y):
        """Where a pixel of the picture is in the window."""
        place = self.image.bounding_box()
        return place["x"] + x * self.scale, place["y"] + y * self.scale

    def zoomed(self, act, *, out=False):
        """Do it, and wait until the picture is larger, or smaller."""
        before = self.image.bounding_box()["width"]
        act()
        told = f"document.querySelector('.canvas img').getBoundingClientRect().width {'<' if out else '>'} {before}"
        self.page.wait_for_function(told)

    def draw(self, x, y, width, height):
        """By mouse, from corner to corner; the start lies on no other box."""
        mouse = self.page.mouse
        mouse.move(*self.at(x, y))
        mouse.down()
        mouse.move(*self.at(x + width / 2, y + height / 2))
        mouse.move(*self.at(x + width, y + height))
        mouse.up()


def sent(web, page):
    page.click("#send")
    expect(page.get_by_text("Nothing to label for now")).to_be_visible()
    return [box[1:] for box in answers(web.desk, web.name)["i0", "ada"]]


def test_boxes_lie_where_they_were_drawn_at_whatever_zoom(web):
    page = web.open("/", who="ada")
    seen = Seen(page)
    whole = seen.scale
    page.mouse.move(*(held := seen.at(230, 140)))
    seen.zoomed(lambda: page.mouse.wheel(0, -600))
    # What is under the pointer stays there.
    assert seen.at(230, 140) == pytest.approx(held, abs=1.0) and seen.scale > 2 * whole
    seen.draw(*CELL)
    page.keyboard.press("Escape")
    seen.zoomed(lambda: page.keyboard.press("+"))
    page.keyboard.press("ArrowLeft")  # the picture, where no box is chosen
    seen.draw(226, 165, 20, 8)
    seen.zoomed(lambda: page.get_by_role("button", name="Zoom out").click(), out=True)
    page.keyboard.press("f")
    page.wait_for_function("s => Math.abs(document.querySelector('.canvas img').getBoundingClientRect().width - s) < 1",
                           arg=whole * WIDTH)  # fmt: skip
    seen.draw(20, 200, 100, 80)
    # A box that was drawn close by is moved from afar, and lies where it was let go.
    page.mouse.move(*seen.at(70, 240))
    page.mouse.down()
    page.mouse.move(*seen.at(80, 245))
    page.mouse.up()
    boxes = sent(web, page)
    assert boxes[0] == pytest.approx(list(CELL), abs=0.6)
    assert boxes[1] == pytest.approx([226, 165, 20, 8], abs=0.4)
    assert boxes[2] == pytest.approx([30, 205, 100, 80], abs=1.0)
    web.clean()


def test_a_picture_that_is_moved_about_stays_in_sight(web):
    page = web.open("/", who="ada")
    seen = Seen(page)
    page.mouse.move(*seen.at(0, 0))
    for _ in range(4):
        page.mouse.wheel(0, -3000)
    page.wait_for_function("document.querySelector('.canvas img').getBoundingClientRect().width > 3000")
    page.keyboard.press("h")  # move the picture in the place of drawing
    stage = page.locator(".show .stage").bounding_box()
    middle = stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2
    for _ in range(3):
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(stage["x"] + stage["width"] - 2, stage["y"] + stage["height"] - 2, steps=3)
        page.mouse.up()
    image = seen.image.bounding_box()
    assert image["x"] < stage["x"] + stage["width"] and image["y"] < stage["y"] + stage["height"]
    expect(page.locator(".box-list li")).to_have_count(0)
    web.clean()


def test_two_fingers_zoom_and_one_draws_then(web):
    page = web.open("/", who="ada", size=PHONE)
    seen = Seen(page)
    x, y = seen.at(230, 140)
    seen.zoomed(lambda: pinch(page, (x, y), 20, 60))
    assert seen.at(230, 140) == pytest.approx((x, y), abs=3.0)
    expect(page.locator(".box-list li")).to_have_count(0)  # what the first finger began is none
    left, top, width, height = CELL
    corners = ((left, top), (left + width / 2, top + height / 2), (left + width, top + height))
    stroke(page, *(seen.at(*corner) for corner in corners))
    expect(page.locator(".box-list li")).to_have_count(1)
    page.locator("#send").tap()
    expect(page.get_by_text("Nothing to label for now")).to_be_visible()
    (box,) = answers(web.desk, web.name)["i0", "ada"]
    assert box[1:] == pytest.approx(list(CELL), abs=1.0)
    web.clean()


def pinch(page, middle, near, far):
    """A finger that draws a little, and then a second one: they go apart from `near` to `far` to each side of a point,
    and are lifted."""
    touch, (x, y), steps, pace = page.context.new_cdp_session(page), middle, 6, 0.1
    spans = [near + (far - near) * n / steps for n in range(steps + 1)]
    begun = time.time() - pace * (len(spans) + 3)

    def fingers(span):
        return [{"x": x - span, "y": y, "id": 0}, {"x": x + span, "y": y, "id": 1}]

    early = {"x": x - near - 30, "y": y - 30, "id": 0}
    told = [("touchStart", [early]), ("touchMove", fingers(near)[:1]), ("touchStart", fingers(near))]
    told += [*(("touchMove", fingers(span)) for span in spans[1:]), ("touchEnd", [])]
    for n, (kind, at) in enumerate(told):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at, "timestamp": begun + pace * n})
