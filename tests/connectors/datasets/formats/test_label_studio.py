"""Label Studio, read and written."""

from dataclasses import replace
from urllib.parse import unquote
from xml.etree import ElementTree

import msgspec
import pytest

from connectors.datasets.examples import Example
from connectors.datasets.formats.item import Outgoing
from connectors.datasets.formats.label_studio import read, write
from tests.connectors.datasets.formats.samples import LABELS, named, png, sample, tree
from tidemill.errors import UserError
from tidemill.label_events import AnswerGiven


@pytest.mark.parametrize("medium", ["image", "text"])
@pytest.mark.parametrize("kind", list(LABELS))
def test_what_was_written_is_read_again(tmp_path, kind, medium):
    if kind == "boxes" and medium == "text":
        pytest.skip("boxes are of images")
    out = sample(kind, medium)
    write(out, tmp_path)
    found = read(tmp_path)
    items = list(found.items)
    assert (found.kind, found.medium, found.classes) == (kind, medium, out.classes)
    assert [item.id for item in items] == [e.id for e in out.examples]
    assert [item.label for item in items] == named(out)
    assert [(item.group, item.split) for item in items] == [(e.group, e.split) for e in out.examples]
    if medium == "image":
        assert [item.data for item in items] == [png(n) for n in range(4)]
    else:
        assert items[1].fields == {"text": "text 1", "size": 1} and found.fields == {"text": "string", "size": "int"}


def tasks(folder, *found, config=None):
    folder.mkdir(exist_ok=True)
    (folder / "tasks.json").write_bytes(msgspec.json.encode(found))
    (folder / "a.png").write_bytes(png(0))
    if config:
        (folder / "config.xml").write_text(config)
    return folder


def chosen(*names, **more):
    return {"result": [{"type": "choices", "value": {"choices": list(names)}}], **more}


def test_of_several_annotations_the_ground_truth_s_counts_or_the_last(tmp_path):
    found = read(
        tasks(
            tmp_path,
            {"data": {"text": "1"}, "annotations": [chosen("a"), chosen("b"), chosen("c", was_cancelled=True)]},
            {"data": {"text": "2"}, "annotations": [chosen("a", ground_truth=True), chosen("b")]},
            {"data": {"text": "3"}, "annotations": [chosen("c", was_cancelled=True)]},
        )
    )
    assert [item.label for item in found.items] == ["b", "a", None]


def test_what_several_annotators_say_are_answers_and_what_is_left_out_is_counted(tmp_path):
    at = "2024-01-02T00:00:00Z"
    guess = {"result": chosen("z")["result"], "score": 1.0}
    found = read(
        tasks(
            tmp_path,
            {
                "data": {"text": "1"},
                "annotations": [
                    chosen("a", completed_by=1, id=11, updated_at=at, lead_time=2.5, prediction=guess),
                    chosen("b", completed_by={"id": 2, "email": "x@example.org"}),
                    chosen("c", completed_by=3, was_cancelled=True),
                    {"result": [], "completed_by": 4},
                ],
                "predictions": [guess],
            },
            {"data": {"text": "2"}, "annotations": [chosen("a", completed_by=1), chosen("b", completed_by=1)]},
            {
                "data": {"text": "3"},
                "annotations": [chosen("a", completed_by=n, ground_truth=n == 2) for n in (1, 2, 3, 4)],
            },
            {"data": {"text": "4"}, "annotations": [], "predictions": [guess]},
        )
    )
    one, two, three, four = found.items
    assert (found.classes, found.fewest) == (("a", "b"), 2)
    first, second = one.answers
    assert (first.by, first.value, first.name, first.seconds) == ("1", "a", "label-studio-11-t1704153600000000", 2.5)
    assert (second.by, second.value, second.name, second.time) == ("2", "b", "", None)
    assert (one.label, two.label, two.answers, four.label, four.answers) == (None, "b", (), None, ())
    assert (three.label, three.decided, [a.by for a in three.answers]) == ("a", "2", ["1", "3", "4"])
    assert found.passed_over == [
        "1 annotation that was cancelled", "1 annotation that says nothing",
        "1 annotation in whose place its annotator gave a later one",
    ]  # fmt: skip


@pytest.mark.parametrize("empty", [[], [{"type": "choices", "value": {"choices": []}}]])
def test_what_says_nothing_neither_makes_a_crowd_nor_takes_the_place_of_what_does(tmp_path, empty):
    silent = {"result": empty, "completed_by": 2, "id": 9, "updated_at": "2024-01-02T00:00:00Z"}
    folder = tasks(
        tmp_path,
        {"data": {"text": "1"}, "annotations": [chosen("a", completed_by=1, id=7), silent]},
        {"data": {"text": "2"}, "annotations": [chosen("b", completed_by=2), silent, silent | {"completed_by": 3}]},
    )
    found = read(folder)
    assert [(item.label, item.answers, item.said.by) for item in found.items] == [("a", (), "1"), ("b", (), "2")]
    assert (found.fewest, found.passed_over) == (0, ["3 annotations that say nothing"])


def test_an_export_neither_loses_nor_doubles_anybody(tmp_path):
    people = ["3", "label-studio-3", "label-studio-unnamed", "unnamed", "ann", "label-studio-ann"]
    out = sample("single")
    answers = {"a": [AnswerGiven(id=by, time=n, about="a", by=by, value="cat") for n, by in enumerate(people)]}
    write(replace(out, answers=answers), tmp_path)
    (a,) = [item for item in read(tmp_path).items if item.id == "a"]
    assert (a.label, a.decided) == (named(out)[0], "") and sorted(one.time for one in a.answers) == [0, 1, 2, 3, 4, 5]
    assert len({one.by for one in a.answers}) == 6


def test_a_task_of_too_many_annotations_and_one_of_nobody_are_refused(tmp_path):
    crowd = [chosen("a", completed_by=n) for n in range(100_000)]
    with pytest.raises(UserError, match=r"more annotations(.|\n)*100,000") as error:
        read(tasks(tmp_path, {"data": {"text": "1"}, "annotations": crowd}))
    assert error.value.where == "task 1"
    pairs = [[chosen("a"), chosen("b", completed_by=who)] for who in (1, [])]
    with pytest.raises(UserError, match="not an annotator") as error:
        read(tasks(tmp_path, *({"data": {"text": "x"}, "annotations": pair} for pair in pairs)))
    assert error.value.where == "task 2"


@pytest.mark.parametrize("kind", list(LABELS))
def test_answers_that_were_written_are_read_again_beside_the_label_or_without_one(tmp_path, kind):
    out = sample(kind)
    values = [v for v in LABELS[kind] if v is not None][:2]

    def of(about, n):
        by = ("ann", "label-studio-7")[n]
        return AnswerGiven(
            id=f"{about}{n}", time=5 + n, about=about, by=by, value=values[n], seconds=2.0 if n else None
        )

    # With its label; two people's without; one person's, which is not written.
    answers = {"a": [of("a", 0)], "c.3": [of("c.3", 0), of("c.3", 1)]}
    write(replace(out, answers=answers), tmp_path / "one")
    found = read(tmp_path / "one")
    items = {item.id: item for item in found.items}
    assert [items[e.id].label for e in out.examples] == named(out)
    (a,) = items["a"].answers
    assert (a.by, a.value, a.time, items["a"].decided) == ("@ann", out.named(values[0]), 5, "")
    said = [(a.by, a.value, a.time, a.seconds) for a in items["c.3"].answers]
    assert said == [("7", out.named(values[1]), 6, 2.0), ("@ann", out.named(values[0]), 5, None)]
    assert items["b-2"].answers == () and found.fewest == 2
    write(replace(out, answers={"c.3": answers["c.3"][:1]}), tmp_path / "two")
    write(out, tmp_path / "three")
    assert tree(tmp_path / "two") == tree(tmp_path / "three")


def test_several_choices_of_one_task_are_of_the_multi_kind(tmp_path):
    found = read(tasks(tmp_path, {"data": {"text": "1"}, "annotations": [chosen("b", "a")]}))
    assert (found.kind, [i.label for i in found.items]) == ("multi", [["b", "a"]])


def test_local_files_are_found_by_their_path(tmp_path):
    found = read(tasks(tmp_path, {"data": {"image": "/data/local-files/?d=a.png"}}))
    assert [item.data for item in found.items] == [png(0)]


def test_what_was_uploaded_there_is_found_where_label_studio_keeps_it(tmp_path):
    source = tasks(tmp_path, {"data": {"image": "/data/upload/3/1f2e-a%20b.png"}})
    (tmp_path / "upload" / "3").mkdir(parents=True)
    (tmp_path / "upload" / "3" / "1f2e-a b.png").write_bytes(png(1))
    found = list(read(source).items)
    assert [(item.id, item.data) for item in found] == [("1f2e-a b", png(1))]


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("/data/upload/%2e%2e/../../etc/passwd", "leads out"),
        ("http://169.254.169.254/latest/meta-data", "is an address"),
        ("https://example.org/a.png", "is an address"),
        ("//example.org/a.png", "is an address"),
        ("s3://bucket/a.png", "is an address"),
        ("data:image/png;base64,AAAA", "is an address"),
        ("file:///etc/passwd", "is an address"),
        ("/data/local-files/?d=../../etc/passwd", "leads out"),
        ("/data/local-files/?d=%2e%2e/x", "leads out"),
        ("../a.png", "leads out"),
        ("/etc/passwd", "leads out"),
        (5, "names no file"),
    ],
)
def test_nothing_is_fetched_and_nothing_outside_is_read(tmp_path, image, says):
    with pytest.raises(UserError, match=says):
        list(read(tasks(tmp_path / "in", {"data": {"image": image}})).items)


def rectangle(**changed):
    value = {"x": 0, "y": 0, "width": 10, "height": 10, "rectanglelabels": ["a"]} | changed
    return {"annotations": [{"result": [{"type": "rectanglelabels", "value": value}]}], "data": {"image": "a.png"}}


@pytest.mark.parametrize("wrong", [{"x": "no"}, {"x": None}, {"width": 101}, {"x": -1}, {"rectanglelabels": []}])
def test_a_rectangle_that_cannot_be_is_refused(tmp_path, wrong):
    with pytest.raises(UserError, match="rectangle"):
        list(read(tasks(tmp_path, rectangle(**wrong))).items)


def test_what_is_no_export_is_refused(tmp_path):
    with pytest.raises(UserError, match="no Label Studio"):
        read(tmp_path)
    with pytest.raises(UserError, match="several kinds"):
        read(tasks(tmp_path, rectangle(), {"data": {"image": "a.png"}, "annotations": [chosen("b")]}))
    for text in ("[5]", "{}", '[{"data": 5}]', "["):
        (tmp_path / "tasks.json").write_text(text)
        with pytest.raises(UserError, match="JSON"):
            read(tmp_path)


def test_a_hostile_configuration_is_refused(tmp_path):
    with pytest.raises(UserError, match="document type"):
        read(tasks(tmp_path, {"data": {"text": "x"}}, config='<!DOCTYPE a [<!ENTITY b "c">]><View/>'))


def test_writing_twice_gives_the_same_files(tmp_path):
    for name in ("one", "two"):
        write(sample("boxes"), tmp_path / name)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_label_studio_shows_the_files_and_takes_the_labels_for_no_ground_truth(tmp_path):
    """A relative path is no address there; regions have ids, and what is imported is ground truth unless it says no."""
    write(sample("boxes"), tmp_path)
    tasks = msgspec.json.decode((tmp_path / "tasks.json").read_bytes())
    for task in tasks:
        head, _, path = task["data"]["image"].partition("/data/local-files/?d=")
        assert head == "" and (tmp_path / unquote(path)).is_file()
    first = tasks[0]["annotations"][0]
    assert [r["id"] for r in first["result"]] == ["box-0", "box-1"] and first["ground_truth"] is False


def test_a_row_is_shown_by_its_id_and_the_fields_that_all_have(tmp_path):
    """Label Studio refuses tasks without a field that its configuration names."""
    rows = [{"age": 3, "city": "Bern", "a b": 1, "note": None}, {"age": 4, "city": "Genf", "a b": 2, "note": "x"}]
    given = [Example("t", 0, n, f"r{n}", "", "", row, "c", "", "train") for n, row in enumerate(rows)]
    out = Outgoing("single", "row", ("cat",), {"c": "cat"}, given, lambda e: b"")
    write(out, tmp_path)
    top = ElementTree.parse(tmp_path / "config.xml").getroot()
    assert [(t.get("name"), t.get("value")) for t in top.findall("Text")] == [
        ("item", "$id"), ("field-0", "$age"), ("field-1", "$city"),
    ]  # fmt: skip
    assert [t.get("value") for t in top.findall("Header")] == ["age", "city"]
    found = read(tmp_path)
    assert (found.kind, found.medium, [i.label for i in found.items]) == ("single", "row", ["cat", "cat"])
    write(Outgoing("single", "row", ("cat",), {"c": "cat"}, [], lambda e: b""), tmp_path / "none")


def test_the_kind_is_what_was_said_where_it_was_taken_back_last(tmp_path):
    task = rectangle()
    task["annotations"] = [one | {"completed_by": 1} for one in (*task["annotations"], {"result": []})]
    found = read(tasks(tmp_path, task))
    assert (found.kind, [item.label for item in found.items]) == ("boxes", [[]])
