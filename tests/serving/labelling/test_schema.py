"""Classes of a project, changed while people label."""

import pytest

from serving.labelling.schema import RESERVED, Change, changed, checked, hotkeys
from serving.labelling.values import resolve
from tidemill.errors import RequestError
from tidemill.label_events import LabelClass, LabelSchema


def schema(*classes, kind="single", medium="image", **more):
    made = tuple(c if isinstance(c, LabelClass) else LabelClass(c, c) for c in classes)
    return LabelSchema(kind=kind, medium=medium, classes=made, **more)


def test_classes_are_added_renamed_and_merged_and_the_version_before_stays():
    one = checked(schema("cat", "dog", "puppy"))
    two = changed(one, [Change("add", "bird", hotkey="b"), Change("rename", "cat", name="Felis")])
    three = changed(two, [Change("merge", "puppy", into="dog"), Change("merge", "dog", into="cat")])
    assert (one.version, two.version, three.version) == (1, 2, 3)
    assert [c.name for c in one.classes] == ["cat", "dog", "puppy"]
    assert [(c.id, c.name) for c in two.classes] == [
        ("cat", "Felis"),
        ("dog", "dog"),
        ("puppy", "puppy"),
        ("bird", "bird"),
    ]
    assert [resolve(three, c.id) for c in three.classes] == ["cat", "cat", "cat", "bird"]
    # A name is free again once its class is merged; an id never is.
    four = changed(three, [Change("rename", "bird", name="dog")])
    assert four.classes[3].name == "dog"
    with pytest.raises(RequestError):
        changed(four, [Change("add", "dog", name="hound")])


@pytest.mark.parametrize(
    "change",
    [
        Change("add", "cat"), Change("add", ""), Change("add", " x"), Change("add", "x\n"), Change("add", "y" * 101),
        Change("add", "x", name="dog"), Change("rename", "cow", name="x"), Change("rename", "cat", name="dog"),
        Change("merge", "cat", into="cat"), Change("merge", "cat", into="cow"), Change("merge", "cow", into="cat"),
        Change("add", "x", hotkey="ab"), Change("add", "x", color="red;background:url(//evil.example)"),
        Change("add", "x", color="#12345g"),
    ],
    ids=repr,
)  # fmt: skip
def test_a_change_that_cannot_be_changes_nothing(change):
    with pytest.raises(RequestError):
        changed(schema("cat", "dog"), [Change("add", "fine"), change])


def test_no_circle_can_be_merged():
    merged = changed(schema("a", "b"), [Change("merge", "a", into="b")])
    for change in (Change("merge", "b", into="a"), Change("merge", "a", into="b")):
        with pytest.raises(RequestError):
            changed(merged, [change])


@pytest.mark.parametrize(
    "wrong",
    [
        schema(), schema(kind="multi"), schema("a", kind="rating"), schema("a", "a"),
        schema("a", kind="boxes", medium="text"),
        schema(kind="rating", rating=(3, 3)), schema(kind="rating", rating=(0, 10**9)),
        schema("a", instructions="x" * 20_001), schema(*map(str, range(1001))), schema(LabelClass("a", "a", into="a")),
    ],
    ids=lambda s: s.kind,
)  # fmt: skip
def test_a_schema_that_asks_nothing_is_refused(wrong):
    with pytest.raises(RequestError):
        checked(wrong)


def test_every_class_has_a_key_of_its_own_while_there_are_some():
    made = hotkeys(schema(LabelClass("a", "a", hotkey="2"), "b", "c", LabelClass("d", "d", into="a")))
    assert made == {"a": "2", "b": "1", "c": "3"}
    many = hotkeys(schema(*[f"c{i}x" for i in range(40)]))
    keys = [key for key in many.values() if key]
    assert (len(keys), len(set(keys))) == (29, 29) and not RESERVED & set(keys)


def test_a_class_that_is_called_by_a_digit_has_its_key():
    digits = [str(i) for i in range(10)]
    assert hotkeys(schema(*digits)) == {d: d for d in digits}
    made = hotkeys(schema("grade 3", "plain", LabelClass("x", "x", hotkey="1"), "no 1", "no 12", "42nd"))
    assert made == {"grade 3": "3", "plain": "2", "x": "1", "no 1": "4", "no 12": "5", "42nd": "6"}


def test_a_key_that_the_pages_would_not_bind_is_refused_and_of_before_is_passed_over():
    for key in "asunhfrAS":
        with pytest.raises(RequestError, match="means something else") as new:
            checked(schema(LabelClass("a", "a", hotkey=key)))
        with pytest.raises(RequestError, match="means something else") as added:
            changed(schema("cat"), [Change("add", "x", hotkey=key)])
        assert (new.value.field, added.value.field) == ("schema.classes[0].hotkey", "changes[0].hotkey")
    with pytest.raises(RequestError, match="two classes have one hotkey"):
        checked(schema(LabelClass("a", "a", hotkey="x"), LabelClass("b", "b", hotkey="X")))
    old = schema(LabelClass("a", "a", hotkey="s"), LabelClass("b", "b", hotkey="X"), LabelClass("c", "c", hotkey="x"))
    assert hotkeys(old) == {"a": "1", "b": "x", "c": "2"}
    assert changed(schema(LabelClass("a", "a", hotkey="s")), [Change("rename", "a", name="b")]).classes[0].name == "b"
