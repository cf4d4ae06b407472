"""Label Studio's configurations: the control of a project's kind is found, and XML that grows or reaches out is not."""

import pytest

from serving.labelling.label_config import MAX_CONFIG, control, tags
from tidemill.errors import RequestError
from tidemill.label_events import LabelClass, LabelSchema

CELLS = (LabelClass("rbc", "Red cell"), LabelClass("wbc", "White cell"), LabelClass("old", "Old", into="wbc"))
BOXES = """<View>
  <!-- {"data": {"image": "x.jpg"}} -->
  <Header value="Draw &amp; name"/>
  <Image name="img" value="$image"/>
  <Choices name="quality" toName="img"><Choice value="Good"/></Choices>
  <RectangleLabels name="box" toName="img">
    <Label value="Red cell" background="#ff0000"/><Label value="White" alias="wbc"/><Label value="old"/>
    <Label value="Dust"/>
  </RectangleLabels>
</View>"""


def test_the_control_of_the_projects_kind_is_found_with_what_it_calls_the_classes():
    found = control(BOXES, LabelSchema(kind="boxes", medium="image", classes=CELLS))
    assert (found.name, found.to, found.type, found.source) == ("box", "img", "rectanglelabels", "image")
    assert found.meant == {"Red cell": "rbc", "wbc": "wbc", "old": "wbc"}
    assert found.told == {"rbc": "Red cell", "wbc": "wbc"}


@pytest.mark.parametrize(
    ("kind", "xml", "type"),
    [
        ("rating", '<View><Text name="t" value="$text"/><Rating name="r" toName="t" maxRating="5"/></View>', "rating"),
        ("transcription", '<View><Audio name="a" value="$audio"/><TextArea name="x" toName="a"/></View>', "textarea"),
    ],
)
def test_controls_without_classes(kind, xml, type):
    found = control(xml, LabelSchema(kind=kind, medium="text"))
    assert (found.type, found.meant) == (type, {})


@pytest.mark.parametrize(
    ("xml", "says"),
    [
        ('<!DOCTYPE v [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><View>&b;</View>', "document type"),
        ('<!DOCTYPE v SYSTEM "http://127.0.0.1/x.dtd"><View/>', "document type"),
        ('<View><Image name="i" value="$image"/></View>', "no control"),
        (
            '<View><RectangleLabels name="b" toName="gone"><Label value="rbc"/></RectangleLabels></View>',
            "about nothing",
        ),
        (BOXES.replace("Red cell", "x").replace("wbc", "y").replace("old", "z"), "is a class of the project"),
        ("<View>" * 70 + "</View>" * 70, "too many elements"),
        ("<View>" + "<a/>" * 30_000 + "</View>", "too many elements"),
        ("<View>" + " " * MAX_CONFIG + "</View>", "too large"),
        ("<View>&undefined;</View>", "no XML"),
        ("<View><View>", "no XML"),
        ("<View>\ud800</View>", "no XML"),
        ("", "no XML"),
    ],
)
def test_what_is_no_usable_configuration_is_refused_clearly(xml, says):
    with pytest.raises(RequestError, match=says):
        control(xml, LabelSchema(kind="boxes", medium="image", classes=CELLS))


def test_places_tell_what_stands_in_what():
    found = tags("<a><b><c/></b><d/></a>")
    assert [(tag.name, tag.place) for tag in found] == [("a", (0,)), ("b", (0, 1)), ("c", (0, 1, 2)), ("d", (0, 3))]
