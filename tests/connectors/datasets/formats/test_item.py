"""What every format is read into and written from."""

import msgspec
import pytest

from connectors.datasets.formats.item import classes_in, file_stem, kind_of, outgoing, split_name
from tests.connectors.datasets.formats.samples import sample
from tidemill.errors import UserError
from tidemill.label_events import LabelClass, LabelSchema


def test_a_file_s_name_is_the_id_or_made_fit_and_different_for_different_ids():
    assert file_stem("BloodImage_00001") == "BloodImage_00001"
    ids = ["../x", "a/b", "a b", "a_b", "", ".hidden", "x" * 300, "ü", "ö", "a\0b", "CON/..", "-rf"]
    stems = [file_stem(i) for i in ids]
    assert len(set(stems)) == len(ids)
    assert not any("/" in s or s.startswith((".", "-")) or not s or len(s) > 160 for s in stems)


@pytest.mark.parametrize(
    ("text", "name"), [("val2017", "valid"), ("VAL", "valid"), ("train", "train"), ("t10k", "t10k")]
)
def test_splits_have_one_name(text, name):
    assert split_name(text) == name


def test_the_kind_of_a_label_is_seen_by_its_form():
    assert [kind_of(v) for v in ("a", ["a"], [["a", 1, 2, 3, 4]], 3, [], None)] == [
        "single",
        "multi",
        "boxes",
        "rating",
        None,
        None,
    ]
    assert classes_in([["a", 1, 2, 3, 4], "odd", []], "boxes") == ["a"]
    assert classes_in("a", "multi") == classes_in(5, "single") == classes_in("a", "transcription") == []


def test_without_a_schema_the_labels_say_what_they_are():
    examples = sample("boxes").examples
    out = outgoing(None, examples, lambda e: b"")
    assert (out.kind, out.medium, out.classes) == ("boxes", "image", ("c", "d"))
    mixed = [examples[0], msgspec.structs.replace(examples[1], label="c")]
    with pytest.raises(UserError, match="several kinds"):
        outgoing(None, mixed, lambda e: b"")


def test_a_schema_names_classes_and_leaves_out_merged_ones():
    classes = (LabelClass("d", "dog"), LabelClass("x", "old", into="c"), LabelClass("c", "cat"))
    out = outgoing(LabelSchema(kind="single", medium="row", classes=classes), [], lambda e: b"")
    assert out.classes == ("dog", "cat") and out.named("c") == "cat" and out.named(None) is None


def test_what_is_no_file_has_no_file_s_name():
    with pytest.raises(UserError, match="no file of a known type"):
        sample("single", "row").files()
    assert len(set(sample("single").files())) == 4
