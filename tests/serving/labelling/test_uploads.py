"""Items from a manager: all of a request or none, and nothing is fetched."""

import base64
import json

import msgspec
import pytest

from serving.labelling.uploads import NewItem, NewItems, close_items, stream_of
from tests.serving.labelling.project import PAIR, desk, png
from tidemill.block import Block
from tidemill.decode import Decoder
from tidemill.errors import IncompatibleError, RequestError, TooLargeError
from tidemill.label_events import AnswerGiven, LabelAsked, LabelSchema
from tidemill.log import Partition

IMAGES = LabelSchema(kind="boxes", medium="image", classes=PAIR.classes)
PICTURE = base64.b64encode(png(9, 7)).decode()


def events_of(made, project):
    at = Partition(f"data.{project}", 0)
    reader, found = made.log.reader({at: 0}), []
    while records := reader.poll(1000, 0.05):
        found += records
    return found


def test_an_item_is_an_event_of_the_stream_and_a_question(tmp_path):
    with desk(tmp_path) as made:
        made.project(schema=IMAGES)
        item = NewItem(id="a", media=PICTURE, group="scene", payload={"n": 1}, gold=[["cat", 0, 0, 9, 7]], priority=2.0)
        assert made.uploads.add("pets", NewItems([item], "test")) == {"added": ["a"], "known": []}
        (asked,) = made.kept("pets", LabelAsked)
        assert made.objects.get(asked.media) == png(9, 7)
        assert (asked.media_type, asked.group, asked.reason, asked.priority) == ("image/png", "scene", "test", 2.0)
        assert (asked.payload, asked.gold) == ({"n": 1, "width": 9, "height": 7}, [["cat", 0.0, 0.0, 9.0, 7.0]])
        (record,) = events_of(made, "pets")
        block = next(iter(Decoder(stream_of("pets")).decode([record])))
        assert json.loads(record.value)["media"] == asked.media and record.key == b"a"
        assert "gold" not in json.loads(record.value)
        assert isinstance(block, Block) and block.ids == ["a"]


def test_sent_again_nothing_is_added(tmp_path):
    with desk(tmp_path) as made:
        made.project()
        items = [NewItem(id=n, text=n) for n in "ab"]
        made.uploads.add("pets", NewItems(items))
        told = made.uploads.add("pets", NewItems([*items, NewItem(id="c", text="c")]))
        assert told == {"added": ["c"], "known": ["a", "b"]}
        assert len(events_of(made, "pets")) == 3


def test_an_id_that_another_item_has_is_refused_and_named(tmp_path):
    with desk(tmp_path) as made:
        made.project()
        made.project("cats", schema=IMAGES)
        made.project("rows", schema=LabelSchema(kind="rating", medium="row"))
        other = base64.b64encode(png(7, 9)).decode()
        for project, first, second in [
            ("pets", NewItem(id="n0", text="a"), NewItem(id="n0", text="b")),
            ("pets", NewItem(id="n1", text="a", payload={"n": 1}), NewItem(id="n1", text="a", payload={"n": 2})),
            ("rows", NewItem(id="t.csv:1", payload={"a": 1}), NewItem(id="t.csv:1", payload={"a": 1, "b": 2})),
            ("cats", NewItem(id="1.png", media=PICTURE), NewItem(id="1.png", media=other)),
        ]:
            made.uploads.add(project, NewItems([first]))
            new = msgspec.structs.replace(first, id="new")
            with pytest.raises(IncompatibleError, match=first.id) as error:
                made.uploads.add(project, NewItems([new, second]))
            assert error.value.field == "items[1].id"
            assert made.uploads.add(project, NewItems([first])) == {"added": [], "known": [first.id]}
            with made.service.book.reading(project) as state:
                assert "new" not in state.items
        # What an item does not say cannot differ.
        assert made.uploads.add("pets", NewItems([NewItem(id="n1", text="a")]))["known"] == ["n1"]
        with pytest.raises(RequestError, match=r"one id.*x2"):
            made.uploads.add("pets", NewItems([NewItem(id=n, text=n) for n in ("x1", "x2", "x2")]))


def test_an_event_that_is_there_says_itself_what_is_shown(tmp_path):
    with desk(tmp_path) as made:
        made.project("foreign", schema=IMAGES)
        digest = made.objects.put(png(3, 3))
        made.publish("foreign", id="e1", media=digest, group="scene", split="test", payload={"x": 1})
        made.publish("foreign", id="e2", media=digest, media_type="image/png", width=3, height=3)
        gold = [["cat", 0, 0, 3, 3]]
        told = [
            NewItem(id="e1", event=True, digest=digest, payload={"y": 2, "width": 90}),
            NewItem(id="e2", event=True),
        ]
        assert made.uploads.add("foreign", NewItems([*told[:1], NewItem(id="e2", event=True, gold=gold)])) == {
            "added": ["e1", "e2"],
            "known": [],
        }
        one, two = made.kept("foreign", LabelAsked)
        assert (one.about, one.media, one.media_type, one.group) == ("e1", digest, "image/png", "scene")
        assert (one.payload, two.payload) == ({"x": 1, "y": 2, "width": 3, "height": 3}, {"width": 3, "height": 3})
        assert len(events_of(made, "foreign")) == 2  # nothing is written twice
        assert made.uploads.add("foreign", NewItems(told))["known"] == ["e1", "e2"]
        with pytest.raises(IncompatibleError, match="fields of its own"):
            made.uploads.add("foreign", NewItems([NewItem(media=PICTURE)]))


@pytest.mark.parametrize("medium", ["text", "row"])
def test_events_without_bytes_are_shown_by_their_fields(medium, tmp_path):
    with desk(tmp_path) as made:
        made.project(schema=LabelSchema(kind="rating", medium=medium))
        made.publish("pets", id="e1", text="a text", payload={"x": 1})
        made.publish("pets", id="e2", group="scene")
        made.uploads.add("pets", NewItems([NewItem(id="e1", event=True)]))
        (asked,) = made.kept("pets", LabelAsked)
        assert (asked.payload, asked.media) == ({"text": "a text", "x": 1}, "")
        for id in ("e2", "e3"):  # nothing to be shown, and not there
            with pytest.raises(RequestError) as error:
                made.uploads.add("pets", NewItems([NewItem(id=id, event=True)]))
            assert error.value.field.startswith("items[0]")
        assert len(made.kept("pets", LabelAsked)) == 1


def test_an_event_that_was_only_answered_elsewhere_is_asked_about_and_what_was_said_stays(tmp_path):
    with desk(tmp_path) as made:
        made.project(schema=LabelSchema(kind="rating", medium="text"))
        said = [AnswerGiven(id=f"a{n}", time=1, about=f"e{n}", by="label-studio-1", value=n) for n in (1, 2)]
        shown = LabelAsked(id="q", time=1, about="e2", payload={"text": "x"}, reason="import", closed=True)
        made.service.book.append("pets", [*said, shown])
        for id in ("e1", "e2"):
            made.publish("pets", id=id, text="a text")
        wish = NewItems([NewItem(id=id, event=True) for id in ("e1", "e2")])
        assert made.uploads.add("pets", wish) == {"added": ["e1", "e2"], "known": []}
        assert made.uploads.add("pets", wish) == {"added": [], "known": ["e1", "e2"]}
        with made.service.book.reading("pets") as state:
            assert [about for *_, about in state.open] == ["e1", "e2"]
            assert [state.items[id].answers["label-studio-1"].value for id in ("e1", "e2")] == [1, 2]


def test_to_know_a_digest_is_not_to_be_shown_what_it_is_of(tmp_path):
    with desk(tmp_path) as made:
        made.project("pets", schema=IMAGES)
        made.project("evil", schema=IMAGES)
        made.project("words")
        made.uploads.add("pets", NewItems([NewItem(id="a", media=PICTURE)]))
        with made.service.book.reading("pets") as state:
            (digest,) = state.media
        made.publish("evil", id="e", media=made.objects.put(png(2, 2)), media_type="image/png", width=2, height=2)
        made.publish("words", id="e", text="t")
        for project, item, why in (
            ("evil", NewItem(digest=digest), "no item of this project has such bytes"),
            ("evil", NewItem(id="e", event=True, digest=digest), "not the event's bytes"),
            ("evil", NewItem(id="a", event=True, digest=digest), "no such event"),
            ("words", NewItem(id="e", event=True, digest=digest), "not the event's bytes"),
            ("words", NewItem(id="a", event=True, digest=digest), "no such event"),
        ):
            with pytest.raises(RequestError, match=why):
                made.uploads.add(project, NewItems([item]))
            with made.service.book.reading(project) as state:
                assert state.media == {}
        # One's own may be named again.
        assert made.uploads.add("pets", NewItems([NewItem(id="b", digest=digest)]))["added"] == ["b"]
        with made.service.book.reading("pets") as state:
            assert (state.items["b"].asked.media, state.items["b"].size) == (digest, (9, 7))


INSIDE = ["http://127.0.0.1:9092/", "https://169.254.169.254/latest", "file:///etc/passwd", "/etc/passwd", "../../keys"]


@pytest.mark.parametrize(
    "item",
    [
        *({"media": place} for place in INSIDE), *({"digest": place} for place in INSIDE), {"digest": "0" * 64},
        {"media": base64.b64encode(b"<svg onload=alert(1)>").decode()}, {"media": "%%%"}, {"media": PICTURE[:-28]}, {},
        {"text": "no image"}, {"media": PICTURE, "digest": "0" * 64}, {"media": PICTURE, "id": "a\nb"},
        {"media": PICTURE, "id": "x" * 201}, {"media": PICTURE, "overlap": (2, 1)}, {"media": PICTURE, "skills": [""]},
        {"media": PICTURE, "gold": [["cat", 0, 0, 10, 7]]}, {"media": PICTURE, "gold": "cat"},
        {"media": PICTURE, "prelabel": {"value": [["cow", 0, 0, 1, 1]]}}, {"event": True},
        {"event": True, "id": "a", "text": "b"},
        {"media": PICTURE, "group": "\ud800"}, {"media": PICTURE, "payload": {"x": "y" * 70_000}},
        {"media": base64.b64encode(png(50_000, 50_000, b"")).decode()},
    ],
    ids=lambda i: repr(i)[:60],
)  # fmt: skip
def test_one_item_that_cannot_be_taken_is_named_and_none_is(item, tmp_path):
    with desk(tmp_path) as made:
        made.project(schema=IMAGES)
        with pytest.raises((RequestError, TooLargeError)) as error:
            made.uploads.add("pets", NewItems([NewItem(id="good", media=PICTURE), NewItem(**item)]))
        assert "items[1]" in error.value.field + error.value.where
        assert (made.kept("pets", LabelAsked), events_of(made, "pets")) == ([], [])


def test_texts_rows_and_limits(tmp_path):
    with desk(tmp_path) as made:
        made.project()
        made.project("rows", schema=LabelSchema(kind="rating", medium="row"))
        with pytest.raises(RequestError):
            made.uploads.add("pets", NewItems([NewItem(payload={"a": 1})]))
        with pytest.raises(RequestError):
            made.uploads.add("rows", NewItems([NewItem(text="a")]))
        made.uploads.add("rows", NewItems([NewItem(payload={"a": 1})]))
        with pytest.raises(TooLargeError):
            made.uploads.add("pets", NewItems([NewItem(text="x" * 200_001)]))
        for items in ([], [NewItem(text="a")] * 1001):
            with pytest.raises(RequestError):
                made.uploads.add("pets", NewItems(items))
        with pytest.raises(RequestError, match="one id"):
            made.uploads.add("pets", NewItems([NewItem(id="a", text="a")] * 2))
        script = "<img src=x onerror=alert(1)>"
        (id,) = made.uploads.add("pets", NewItems([NewItem(text=script, payload={script: script})]))["added"]
        with made.service.book.reading("pets") as state:
            assert state.items[id].asked.payload == {"text": script, script: script}


def test_questions_are_taken_back_and_asked_again(tmp_path):
    with desk(tmp_path) as made:
        made.project()
        made.member("pets", "ann")
        first, second = made.texts("pets", 2)
        assert close_items(made.service, "pets", [first, first, "ghost"]) in ([first], [first, first])
        assert [t.item for t in made.service.leasing.next("pets", "ann", 2)[0]] == [second]
        assert close_items(made.service, "pets", [first], closed=False) == [first]
        made.managing.close("pets", "boss")
        with pytest.raises(IncompatibleError, match="closed"):
            made.texts("pets", 1)


def test_what_was_only_answered_is_not_asked_about_and_what_was_shown_is_asked_whole(tmp_path):
    """An item without a word of what there is to see could not be answered."""
    with desk(tmp_path) as made:
        made.project()
        made.member("pets", "ann")
        shown = LabelAsked(id="q", time=2, about="shown", payload={"text": "x"}, closed=True, shows=True)
        made.service.book.append("pets", [AnswerGiven(id="a", time=1, about="bare", by="x", value="cat"), shown])
        assert close_items(made.service, "pets", ["bare", "shown"], closed=False) == ["shown"]
        assert [t.item for t in made.service.leasing.next("pets", "ann", 2)[0]] == ["shown"]
        assert close_items(made.service, "pets", ["bare", "shown"]) == ["shown"]
        with made.service.book.reading("pets") as state:
            assert (state.items["bare"].outside, state.items["shown"].dropped) == (True, True)
