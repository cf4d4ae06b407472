"""A person joins the demo in a browser by the printed invitation, sees what the live model takes a digit for, and what
is answered there is in the model's next answers."""

import threading
import time

import pytest
from playwright.sync_api import expect

from tests.serving.labelling.browser import WAIT, chromium
from tidemill.events import PredictionMade
from tidemill.label_events import AnswerGiven, LabelAsked
from tidemill_app import config
from tidemill_app.demo_digits import CLASSES
from tidemill_app.demo_graph import example
from tidemill_app.demo_perception import EXAMPLE, GUEST, HEAD, PROJECT, Answered, PerceptionDemo
from tidemill_app.demo_perception_curve import records, story
from tidemill_app.job_file import load_job
from tidemill_app.stack import lifecycle
from tidemill_app.wiring import Platform


@pytest.fixture
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def demo(browser, own_home, tmp_path):
    settings = config.load(own_home)
    try:
        lifecycle.up(settings, lambda text: None)
        platform = Platform.open(own_home)
        made = PerceptionDemo(
            platform, budget=99.0, data=tmp_path, pause=0.0, train=False, tell=lambda text: None, overlap=(1, 1)
        )
        made.prepare()
        watcher = threading.Thread(target=made.watch, daemon=True)
        watcher.start()
        made.publish()
        yield made
        made.stop.set()
        watcher.join(20)
        platform.close()
    finally:
        lifecycle.down(settings, purge=True)


def shown(page, gone=""):
    """The item on the page, once it is another than `gone`."""
    found = page.wait_for_function(
        "gone => { const i = document.querySelector('.canvas img'); return i && i.alt !== gone ? i.alt : null }",
        arg=gone and f"Item {gone}",
        timeout=5 * WAIT,
    )
    return found.json_value().removeprefix("Item ")


def suggested(page, demo, item):
    """What the page shows as the model's suggestion is what the model said of this item, and the job asked with."""
    strip = page.get_by_label("Suggestion of a model")
    (asked,) = [e for _, e in records(demo.platform.log, f"labels.{PROJECT}") if _is(e, LabelAsked, item)]
    guess = asked.prelabel
    expect(strip.locator(".guess")).to_have_text(guess["value"])
    expect(strip.locator(".hint")).to_have_text(f"{guess['model']} · {round(guess['confidence'] * 100)} % sure")
    said = [e for _, e in records(demo.platform.log, f"predictions.{HEAD}") if _is(e, PredictionMade, item)]
    best = CLASSES.index(guess["value"])
    assert guess["model"] in {f"{e.model}@{e.version}" for e in said} and guess["model"].startswith(f"{HEAD}@")
    assert guess["confidence"] in [e.outputs[best] for e in said]
    return guess


def _is(event, kind, item):
    return isinstance(event, kind) and event.about == item


def once(found, said):
    deadline = time.monotonic() + 60
    while not (made := found()):
        assert time.monotonic() < deadline, said
        time.sleep(0.05)
    return made


@pytest.mark.stack
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_suggestion_is_seen_taken_learned_and_served(browser, demo):
    page = browser.new_page()
    page.goto(demo.invitation)
    page.fill("input[name=password]", "one that is long")
    page.keyboard.press("Enter")
    item = shown(page)
    suggested(page, demo, item)
    for _ in range(40):  # until a version is served, which the first labels make
        page.keyboard.press(CLASSES[demo.truth[item]])
        page.keyboard.press("Enter")
        item = shown(page, item)
        if demo.seen:
            break
    once(lambda: demo.seen, "the scoring server has no model")
    guess = suggested(page, demo, item)
    sent = Answered(demo.platform.clock.now(), 0)
    page.keyboard.press("a")
    shown(page, item)
    log = demo.platform.log
    given = once(lambda: [e for _, e in records(log, f"labels.{PROJECT}") if _is(e, AnswerGiven, item)], "no answer")
    assert [(e.by, e.value) for e in given] == [(GUEST, guess["value"])]
    head = load_job(example(EXAMPLE))
    answers = {f"{item}/{GUEST}": sent}
    (way,) = once(lambda: story(log, head, demo.digits, answers, list(demo.seen)).ways, "it is not served")
    assert way.sent <= way.read <= way.settled <= way.learned <= way.visible and min(way.hops().values()) >= 0
