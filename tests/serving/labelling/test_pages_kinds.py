"""Every kind of answer, and sounds, in a real browser: chosen by keyboard and by mouse, and taken from a model."""

import base64
import io
import math
import re
import struct
import wave

import pytest
from playwright.sync_api import expect

from serving.labelling.prelabels import Guess
from serving.labelling.uploads import NewItem
from tests.serving.labelling.browser import add, answers, people, picture, schema

pytestmark = pytest.mark.stack

KINDS = {
    # The names of classes; keys that choose; what is clicked to choose; both answers; a model's guess, and its words.
    "single": (("Cat", "Dog"), ["2"], ["Cat"], "dog", "cat", "dog", "Dog"),
    "multi": (("Cat", "Dog", "Cow"), ["1", "2", "3", "2"], ["Dog", "Cow"], ["cat", "cow"], ["cow", "dog"],
              ["cat", "dog"], "Cat, Dog"),
    "rating": ((), ["2", ".", "."], ["5"], 4, 5, 3, "3"),
    "transcription": ((), ["w", "o", "w"], [], "wow", "typed", "said so", "said so"),
}  # fmt: skip


def project(web, kind, *items, medium="text"):
    web.desk.project(web.name, schema=schema(kind, medium, *KINDS[kind][0]), overlap=(2, 3))
    people(web.desk, web.name, "ada", "bo")
    add(web.desk, web.name, *items)


def done(page, count):
    expect(page.get_by_text("Nothing to label for now")).to_be_visible()
    expect(page.locator(".tally, .empty").first).to_contain_text(f"{count} answered")


def choose(page, named):
    """By mouse; a text is typed."""
    for name in named:
        page.locator(".option", has_text=name).click()
    if not named:
        page.fill("#transcription", "typed")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_answered_by_keyboard_and_by_mouse(web, kind):
    _, keys, clicks, by_keys, by_clicks, _, _ = KINDS[kind]
    project(web, kind, NewItem(id="i0", text="it mews"))
    page = web.open("/", who="ada")
    expect(page.get_by_text("it mews", exact=True)).to_be_visible()
    if kind == "transcription":
        expect(page.locator("#transcription")).to_be_focused()  # a text is written at once
    if kind != "multi":
        page.keyboard.press("Control+Enter")  # nothing is chosen yet, which of several classes is an answer
        expect(page.locator(".notice")).to_contain_text("first")
    for key in keys:
        page.keyboard.press(key)
    expect(page.locator(".saved")).to_have_text("Draft saved")
    page.keyboard.press("Control+Enter")
    done(page, 1)
    page = web.open("/", who="bo")
    expect(page.get_by_text("it mews", exact=True)).to_be_visible()
    choose(page, clicks)
    page.click("#send")
    done(page, 1)
    assert answers(web.desk, web.name) == {("i0", "ada"): by_keys, ("i0", "bo"): by_clicks}
    web.clean()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "transcription"])
def test_what_a_model_takes_it_for_is_taken_over_whole(web, kind):
    *_, value, words = KINDS[kind]
    told = {"value": value, "confidence": 0.83, "model": "pets@12"}
    project(web, kind, NewItem(id="i0", text="it mews", prelabel=told))
    page = web.open("/", who="ada")
    strip = page.get_by_label("Suggestion of a model")
    expect(strip).to_contain_text(words)
    expect(strip).to_contain_text("pets@12 · 83 % sure")
    page.click("#accept")
    done(page, 1)
    assert answers(web.desk, web.name) == {("i0", "ada"): value}
    web.clean()


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_a_models_text_is_taken_into_the_field_and_sent_when_it_was_corrected(web, by):
    told = {"value": "it mews", "confidence": 0.83, "model": "ears@12"}
    project(web, "transcription", *(NewItem(id=f"i{n}", text=f"sound {n}", prelabel=told) for n in (0, 1)))
    page = web.open("/", who="ada")
    field, strip = page.locator("#transcription"), page.get_by_label("Suggestion of a model")
    expect(strip).to_contain_text("it mews")
    expect(strip.get_by_role("button")).to_contain_text("Take over")
    expect(field).to_be_focused()
    page.keyboard.type("my own")
    if by == "mouse":
        page.click("#accept")
    else:  # a letter is written while the field is being written in
        page.keyboard.press("Escape")
        page.keyboard.press("a")
    expect(field).to_have_value("it mews")
    expect(field).to_be_focused()
    expect(page.locator(".saved")).to_have_text("Draft saved")
    # What was there before is not lost by it.
    page.keyboard.press("Control+z")
    expect(field).to_have_value("my own")
    page.keyboard.press("Control+Shift+z")
    expect(field).to_have_value("it mews")
    page.keyboard.press("End")
    page.keyboard.type(" twice")
    expect(page.locator(".tally")).to_have_text("0 answered")
    assert answers(web.desk, web.name) == {}
    page.keyboard.press("Control+Enter")
    expect(page.locator(".tally")).to_have_text("1 answered")
    assert answers(web.desk, web.name) == {("i0", "ada"): "it mews twice"}
    expect(field).to_have_value("")  # the next item's is nobody's answer yet
    web.clean()


def test_no_class_is_an_answer_of_several_and_is_taken_back_whole(web):
    project(web, "multi", NewItem(id="i0", text="it mews"))
    page = web.open("/", who="ada")
    expect(page.get_by_text("it mews", exact=True)).to_be_visible()
    page.keyboard.press("Enter")
    done(page, 1)
    assert answers(web.desk, web.name) == {("i0", "ada"): []}
    page.keyboard.press("u")
    expect(page.get_by_text("it mews", exact=True)).to_be_visible()
    assert answers(web.desk, web.name) == {}
    web.clean()


def test_a_rating_stays_in_its_range(web):
    web.desk.project(web.name, schema=schema("rating", "text", rating=(-1, 2)))
    people(web.desk, web.name, "ada")
    add(web.desk, web.name, NewItem(id="i0", text="meh"))
    page = web.open("/", who="ada")
    expect(page.locator(".option.rate")).to_have_text(["-1", "0", "1", "2"])
    for key, chosen in ((",", "2"), (".", "2"), ("0", "0"), (",", "-1"), (",", "-1")):
        page.keyboard.press(key)
        expect(page.locator(".option.rate input:checked")).to_have_value(chosen)
    page.keyboard.press("Enter")
    done(page, 1)
    assert answers(web.desk, web.name) == {("i0", "ada"): -1}
    web.clean()


def test_a_models_boxes_are_shown_dashed_taken_over_and_corrected(web):
    web.desk.project(web.name, schema=schema("boxes", "image", "Red", "White"))
    people(web.desk, web.name, "ada")
    told = {"value": [["red", 20, 20, 60, 40], ["white", 120, 10, 30, 30]], "confidence": 0.7, "model": "cells@2"}
    add(web.desk, web.name, NewItem(id="i0", media=picture(200, 100, (20, 20, 60, 40)), prelabel=told))
    page = web.open("/", who="ada")
    expect(page.locator(".canvas img")).to_be_visible()
    dashed = page.locator(".overlay .boxes.dashed rect")
    expect(dashed).to_have_count(2)
    assert page.evaluate("getComputedStyle(document.querySelector('.boxes.dashed rect')).strokeDasharray") != "none"
    assert [dashed.first.get_attribute(a) for a in ("x", "y", "width", "height")] == ["20", "20", "60", "40"]
    expect(page.get_by_label("Suggestion of a model")).to_contain_text("2 boxes")
    # They are nobody's answer until they are taken over: there is nothing of them in the list.
    expect(page.locator(".box-list li")).to_have_count(0)
    page.keyboard.press("n")
    expect(page.locator(".box-list li")).to_have_count(1)
    page.keyboard.press("a")
    expect(page.locator(".box-list li")).to_have_count(2)
    expect(dashed).to_have_count(0)
    expect(page.locator(".saved")).to_have_text("Draft saved")
    # One's own are not lost by it.
    page.keyboard.press("Control+z")
    expect(page.locator(".box-list li")).to_have_count(1)
    page.keyboard.press("Control+Shift+z")
    expect(page.locator(".box-list li")).to_have_count(2)
    assert answers(web.desk, web.name) == {}  # nor are they sent before somebody looked
    page.keyboard.press("Escape")
    page.keyboard.press(".")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press(".")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    done(page, 1)
    corrected = [["red", 30.0, 20.0, 60.0, 40.0], ["red", 120.0, 10.0, 30.0, 30.0]]
    assert answers(web.desk, web.name) == {("i0", "ada"): corrected}
    web.clean()


class Model:
    """A live model that finds one box, wherever."""

    def version(self, project):
        return "cells@9"

    def ask(self, project, schema, questions):
        return [Guess([["red", 10.0, 10.0, 50.0, 30.0]], 0.91, "cells@9") for _ in questions]


@pytest.mark.parametrize("models", [Model()])
def test_what_the_live_model_finds_is_shown_with_the_item(web):
    """Asked as it is leased; the next one is fetched beforehand, and asked about too."""
    web.desk.project(web.name, schema=schema("boxes", "image", "Red", "White"), overlap=(1, 1))
    people(web.desk, web.name, "ada")
    add(web.desk, web.name, *(NewItem(id=f"i{n}", media=picture(200, 100 + n, (10, 10, 50, 30))) for n in range(3)))
    page = web.open("/", who="ada")
    for _ in range(3):
        expect(page.get_by_label("Suggestion of a model")).to_contain_text("cells@9 · 91 % sure")
        expect(page.locator(".boxes.dashed rect")).to_have_count(1)
        page.keyboard.press("a")
        expect(page.locator(".box-list li")).to_have_count(1)
        page.keyboard.press("Enter")
    done(page, 3)
    box = ["red", 10.0, 10.0, 50.0, 30.0]
    assert answers(web.desk, web.name) == {(f"i{n}", "ada"): [box] for n in range(3)}
    web.clean()


def sound(seconds):
    """A tone of 440 Hz as WAV, in base64."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        wanted = range(int(seconds * 8000))
        file.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(i * 0.3456))) for i in wanted))
    return base64.b64encode(out.getvalue()).decode()


@pytest.mark.parametrize("kind", ["single", "multi", "rating", "transcription"])
def test_a_sound_is_played_paused_and_gone_through_by_keyboard_and_answered(web, kind):
    _, keys, _, by_keys, *_ = KINDS[kind]
    project(web, kind, NewItem(id="i0", media=sound(30)), medium="audio")
    page = web.open("/", who="ada")
    player = page.get_by_role("group", name="Sound of item i0")
    time, place = player.locator(".time"), player.get_by_label("Place in the sound")
    expect(time).to_have_text("0:00 / 0:30")
    plain = kind != "transcription"  # while a text is written only keys with Ctrl play
    play = " " if plain else "Control+ "
    page.keyboard.press(play)
    expect(player.get_by_label("Pause")).to_be_visible()
    expect(time).not_to_have_text(re.compile("^0:00"))
    page.keyboard.press(play)
    expect(player.get_by_label("Play", exact=True)).to_be_visible()
    if plain:
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        expect(time).to_have_text(re.compile("^0:1[1-9]"))
        page.keyboard.press("ArrowLeft")
        expect(time).to_have_text(re.compile("^0:(09|1)"))
    place.fill("0.5")
    expect(time).to_have_text("0:15 / 0:30")
    expect(place).to_have_attribute("aria-valuetext", "0:15 of 0:30")
    player.get_by_label("Speed").select_option("2")
    player.get_by_label("Play", exact=True).click()
    expect(time).to_have_text(re.compile("^0:1[7-9]"))
    player.get_by_label("Pause").click()
    if plain:
        page.locator(".work").click(position={"x": 3, "y": 3})
        page.keyboard.press("r")
        expect(time).to_have_text(re.compile("^0:0"))
    else:
        page.locator("#transcription").focus()
        page.keyboard.press("Control+ArrowLeft")
        expect(time).to_have_text(re.compile("^0:0"))
    for key in keys:
        page.keyboard.press(key)
    page.keyboard.press("Control+Enter")
    done(page, 1)
    assert answers(web.desk, web.name) == {("i0", "ada"): by_keys}
    web.clean()
