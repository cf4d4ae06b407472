"""Which annotations of a task count, and as what."""

import msgspec
import pytest

from connectors.datasets.formats.annotators import LABEL, UNNAMED, Annotation, annotator_of, read_as, taken, written_as
from tidemill.errors import UserError


def one(value, by=None, **more):
    """An annotation that says `value`, by annotator `by`."""
    result = [{"type": "choices", "value": {"choices": [value]}}]
    return msgspec.convert({"result": result, "completed_by": by, **more}, Annotation)


def said(annotation):
    return None if annotation is None else annotation.result[0].value["choices"][0]


def found(*annotations, says=lambda annotation: True):
    of = taken(annotations, "task 1", says)
    assert of.silent == sum(not says(a) and not a.was_cancelled for a in annotations)
    return said(of.label), of.by, [(by, said(a)) for by, a in of.answers], of.cancelled, of.replaced


def test_what_one_annotator_says_is_the_label():
    assert found() == (None, "", [], 0, 0)
    assert found(one("a", 1)) == ("a", "1", [], 0, 0)
    assert found(one("a", 1), one("b", 2, was_cancelled=True)) == ("a", "1", [], 1, 0)
    # Those that name nobody are one's: the last counts, or the ground truth.
    assert found(one("a"), one("b")) == ("b", UNNAMED, [], 0, 1)
    assert found(one("a", ground_truth=True), one("b")) == ("a", UNNAMED, [], 0, 1)
    assert found(one("a", 1), one("b", {"id": 1, "email": "x@example.org"})) == ("b", "1", [], 0, 1)


def test_what_says_nothing_is_nobody_s():
    def says(annotation):
        return said(annotation) != ""

    assert found(one("a", 1), one("", 2), says=says) == ("a", "1", [], 0, 0)
    assert found(one("a", 1), one("", 1), says=says) == ("a", "1", [], 0, 0)
    assert found(one("", 1, ground_truth=True), one("a", 2), one("b", 3), says=says)[2] == [("2", "a"), ("3", "b")]
    assert found(one("", 1), one("", 2, was_cancelled=True), says=says) == (None, "", [], 1, 0)


def test_of_one_s_ground_truths_the_last_counts():
    times = [f"2024-01-0{n}T00:00:00Z" for n in (1, 2)]
    for late, early in (times[::-1], times):
        pair = [one(v, 1, ground_truth=True, updated_at=at) for v, at in (("a", early), ("b", late))]
        last = "b" if late > early else "a"
        assert found(*pair) == (last, "1", [], 0, 1)
        assert found(*pair, one("c", 2)) == (last, "1", [("2", "c")], 0, 1)
    assert found(one("a", 1, ground_truth=True), one("b", 1, ground_truth=True), one("c", 2))[0] == "b"


def test_the_label_that_stands_beside_answers_is_nobody_s_answer():
    label = one("a", annotator=LABEL, ground_truth=True)
    assert found(label, one("b")) == ("a", "", [(UNNAMED, "b")], 0, 0)
    assert found(label, one("b", 1, ground_truth=True), one("c", 2)) == ("a", "", [("1", "b"), ("2", "c")], 0, 0)
    assert found(label) == ("a", "", [], 0, 0)


def test_nobody_who_is_written_is_read_as_another():
    ours = ["3", "ann", "unnamed", "@", "@ann", "mail-1", "x@example.org"]
    theirs = [f"label-studio-{name}" for name in ("3", "ann", "unnamed", "@ann", "mail-1")]
    names = [annotator_of(one("a", annotator=written_as(by)), "task 1") for by in (*ours, *theirs)]
    assert [f"label-studio-{name}" for name in names] == [read_as(by) for by in (*ours, *theirs)]
    assert names[len(ours) :] == ["3", "ann", "unnamed", "@ann", "mail-1"] and LABEL not in names
    assert len(set(names)) == len(names) - 1  # an annotator of ours who comes back is the same
    assert not any("example" in name for name in names) and read_as("") == ""


def test_what_several_say_are_answers_and_of_each_the_last():
    assert found(one("a", 1), one("b", 2), one("c", 3, was_cancelled=True)) == (
        None,
        "",
        [("1", "a"), ("2", "b")],
        1,
        0,
    )
    assert found(one("a", 1), one("b")) == (None, "", [("1", "a"), (UNNAMED, "b")], 0, 0)
    early, late = "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"
    again = [one("a", 1, updated_at=late), one("b", 1, updated_at=early), one("c", 2), one("d", 2)]
    assert found(*again) == (None, "", [("1", "a"), ("2", "d")], 0, 2)
    assert found(one("a", 1, created_at=late), one("b", 1), one("c", 2))[2] == [("1", "a"), ("2", "c")]


def test_one_ground_truth_among_several_annotators_decides_and_is_no_answer():
    assert found(one("a", 1), one("b", 2, ground_truth=True), one("c", 3)) == ("b", "2", [("1", "a"), ("3", "c")], 0, 0)
    assert found(one("a", 1), one("b", ground_truth=True)) == ("b", "", [("1", "a")], 0, 0)
    # An import into Label Studio marks every annotation: then none decides.
    both = found(one("a", 1, ground_truth=True), one("b", 2, ground_truth=True))
    assert both == (None, "", [("1", "a"), ("2", "b")], 0, 0)


def test_an_annotator_is_named_by_number_and_never_by_an_address():
    def name(who, **more):
        return annotator_of(one("a", who, **more), "task 1")

    assert (name(7), name({"id": 7, "email": "x@example.org", "first_name": "X"}), name("ann")) == ("7", "7", "ann")
    assert name(None) == UNNAMED and name(None, annotator="ann") == "ann" and name(7, annotator="ann") == "7"
    mail = name({"email": "X@example.org"})
    assert mail == name("x@EXAMPLE.org") and mail.startswith("mail-") and "example" not in mail


@pytest.mark.parametrize("who", [True, -1, 1.5, [], [7], {"id": "\x1b[2J"}, "", " x", "x\n", "x" * 101, {"id": {}}])
def test_what_is_no_annotator_is_refused(who):
    with pytest.raises(UserError, match="not an annotator"):
        taken([one("a", 1), one("b", who)], "task 1")


def test_more_annotations_than_an_item_can_have_answers_are_refused():
    crowd = [one("a", n) for n in range(10_000)]
    assert len(taken(crowd, "task 1").answers) == 10_000
    with pytest.raises(UserError, match=r"task 1.*10,000.*10,001"):
        taken([*crowd, one("a", 0)], "task 1")


def test_an_answer_is_called_by_the_annotation_and_when_it_was_changed_last():
    at = "2021-08-17T13:52:48.5Z"
    assert one("a", 1, id=17, updated_at=at).name == "label-studio-17-t1629208368500000"
    assert one("a", 1, id=17, created_at=at).name == one("a", 1, id=17, updated_at=at).name
    for more in ({"id": 17}, {"updated_at": at}, {"id": "17", "updated_at": at}, {"id": -1, "updated_at": at}):
        assert one("a", 1, **more).name == ""


@pytest.mark.parametrize(
    ("given", "seconds"), [(3, 3.0), (2.5, 2.5), (-1, None), ("3", None), (True, None), (1e9, None)]
)
def test_how_long_it_took_where_that_can_be(given, seconds):
    assert one("a", 1, lead_time=given).seconds == seconds
