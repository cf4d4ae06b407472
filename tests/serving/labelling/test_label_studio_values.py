"""Answers there and here say the same: what we write, we read back; boxes keep their pixels."""

import pytest

from serving.labelling.label_config import control
from serving.labelling.label_studio_values import results, says_nothing, value_of
from tests.serving.labelling.test_label_config import BOXES, CELLS
from tidemill.errors import RequestError
from tidemill.label_events import LabelClass, LabelSchema

SIZE = (640, 480)
DIGITS = tuple(LabelClass(str(i), f"digit {i}") for i in range(3))
CHOICES = """<View><Image name="i" value="$image"/><Choices name="c" toName="i" choice="multiple">
<Choice value="digit 0"/><Choice value="1"/><Choice value="2"/></Choices></View>"""
RATING = '<View><Text name="t" value="$text"/><Rating name="r" toName="t"/></View>'
TEXT = '<View><Audio name="a" value="$audio"/><TextArea name="x" toName="a"/></View>'
SCHEMAS = {
    "boxes": (LabelSchema(kind="boxes", medium="image", classes=CELLS), BOXES),
    "single": (LabelSchema(kind="single", medium="image", classes=DIGITS), CHOICES),
    "multi": (LabelSchema(kind="multi", medium="image", classes=DIGITS), CHOICES),
    "rating": (LabelSchema(kind="rating", medium="text"), RATING),
    "transcription": (LabelSchema(kind="transcription", medium="audio"), TEXT),
}


def made(kind):
    schema, xml = SCHEMAS[kind]
    return control(xml, schema), schema


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("boxes", [["rbc", 10.0, 20.0, 100.5, 60.25], ["wbc", 0.0, 0.0, 640.0, 480.0]]),
        ("boxes", []),
        ("single", "0"),
        ("multi", ["0", "2"]),
        ("rating", 4),
        ("transcription", "two\nlines"),
    ],
)
def test_what_is_written_is_read_back(kind, value):
    found, schema = made(kind)
    assert value_of(found, schema, results(found, schema, value, SIZE, 0.75), SIZE) == value


def test_a_box_is_per_cent_of_the_image_there_and_pixels_here():
    found, schema = made("boxes")
    (region,) = results(found, schema, [["rbc", 64, 48, 320, 240]], SIZE, 0.5)
    assert region["value"] == {
        "x": 10,
        "y": 10,
        "width": 50,
        "height": 50,
        "rotation": 0,
        "rectanglelabels": ["Red cell"],
    }
    assert (region["original_width"], region["original_height"], region["score"]) == (640, 480, 0.5)
    assert (region["from_name"], region["to_name"], region["type"]) == ("box", "img", "rectanglelabels")
    # Without a size of our own the region's counts.
    assert value_of(found, schema, [region], None) == [["rbc", 64.0, 48.0, 320.0, 240.0]]


def test_a_turned_box_becomes_the_upright_one_around_it_cut_to_the_image():
    found, schema = made("boxes")
    (region,) = results(found, schema, [["rbc", 300, 100, 100, 50]], SIZE, None)
    region["value"]["rotation"] = 90  # clockwise about its upper left corner
    assert value_of(found, schema, [region], SIZE) == [["rbc", 250.0, 100.0, 50.0, 100.0]]
    region["value"] |= {"x": 95.0, "rotation": 0}
    assert value_of(found, schema, [region], SIZE) == [["rbc", 608.0, 100.0, 32.0, 50.0]]


def test_classes_without_a_label_are_left_out():
    found, schema = made("single")
    assert results(found, schema, "1", None, None)[0]["value"] == {"choices": ["1"]}
    rest = control(CHOICES.replace('<Choice value="2"/>', ""), schema)
    assert results(rest, schema, "2", None, None) == []


def region(kind, **value):
    found, _ = made(kind)
    return {"from_name": found.name, "to_name": found.to, "type": found.type, "value": value}


@pytest.mark.parametrize(
    ("kind", "result", "says"),
    [
        ("single", "x", "not a result"),
        ("single", [{}] * 3000, "not a result"),
        ("single", [], "not one class"),
        ("single", [region("single", choices=["1", "2"])], "not one class"),
        ("single", [region("single", choices=["<script>"])], "no class"),
        ("single", [region("single", choices="1")], "not a result of its control"),
        ("single", [{**region("single", choices=["1"]), "value": None}], "not a result of its control"),
        ("rating", [region("rating", rating=True)], "not a result of its control"),
        ("rating", [region("rating", rating=9)], "no such rating"),
        ("rating", [], "no answer"),
        ("transcription", [region("transcription", text=[1])], "not a text"),
        ("boxes", [region("boxes", rectanglelabels=["wbc"])], "not a box"),
        ("boxes", [region("boxes", rectanglelabels=[], x=1, y=1, width=1, height=1)], "one class"),
        ("boxes", [region("boxes", rectanglelabels=["wbc"], x=1, y=1, width=float("nan"), height=1)], "not a box"),
        ("boxes", [region("boxes", rectanglelabels=["wbc"], x=200, y=1, width=1, height=1)], "not in the image"),
    ],
)
def test_what_is_no_answer_is_refused_and_the_region_named(kind, result, says):
    found, schema = made(kind)
    with pytest.raises(RequestError, match=says) as error:
        value_of(found, schema, result, SIZE)
    assert error.value.field


def test_boxes_on_an_image_of_unknown_size_are_not_written():
    found, schema = made("boxes")
    with pytest.raises(RequestError, match="size of the image"):
        results(found, schema, [["rbc", 1, 1, 1, 1]], None, None)


@pytest.mark.parametrize("kind", list(SCHEMAS))
def test_an_annotation_without_a_word_of_the_control_says_nothing_but_of_boxes_and_sets(kind):
    found, schema = made(kind)
    other = {"from_name": "other", "to_name": "i", "type": "choices", "value": {"choices": ["x"]}}
    empty = {"from_name": found.name, "to_name": "i", "type": found.type, "value": {"choices": []}}
    for result in ([], [other], [empty, other]):
        assert says_nothing(found, schema, result) is (kind not in ("boxes", "multi"))
    for result in (None, {}, [7], [{}], [{"from_name": None}], [{**empty, "value": {"choices": ["1"]}}]):
        assert not says_nothing(found, schema, result)
