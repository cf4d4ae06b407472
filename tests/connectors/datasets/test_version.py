"""A version's manifest is canonical, and its examples are those that it was made of."""

import msgspec
import pytest

from connectors.datasets.examples import Example
from connectors.datasets.version import (
    DatasetManifest,
    DatasetVersion,
    augmentation_digest,
    decode_dataset,
    encode_dataset,
    examples_digest,
)
from tidemill.errors import DigestError, MalformedError, NotFoundError
from tidemill.stream import Field, StreamSpec
from tidemill.version import Span

SPEC = StreamSpec(name="cells", fields=(Field("id", "string"), Field("time", "time")), time="time", id="id")


def example(offset, split="train", partition=0, **changed):
    plain = Example("data.cells", partition, offset, f"e{offset}", "", "", {"id": f"e{offset}"}, "a", "", split)
    return msgspec.structs.replace(plain, **changed)


def manifest(examples, **changed):
    plain = DatasetManifest(
        name="cells",
        project="cells",
        data=[Span("data.cells", 0, 0, 9)],
        labels=[Span("labels.cells", 0, 0, 9)],
        stream=SPEC,
        examples=len(examples),
        examples_digest=examples_digest(examples),
    )
    return msgspec.structs.replace(plain, **changed)


def test_bytes_are_canonical_and_come_back():
    one = manifest([], splits={"train": 0.5, "test": 0.5}, where=["a=1"])
    other = manifest([], splits={"test": 0.5, "train": 0.5}, where=["a=1"])
    assert encode_dataset(one) == encode_dataset(other)
    assert decode_dataset(encode_dataset(one)) == one
    for data in (b"{}", b"\xff", b"[" * 10_000):
        with pytest.raises(MalformedError):
            decode_dataset(data)


def test_the_digest_is_of_what_examples_are_and_not_of_where_they_stand():
    a, b = example(1), example(2)
    assert examples_digest([a, b]) == examples_digest([b, example(1, partition=3)])
    assert examples_digest([a, b]) == examples_digest([a, example(2, confidence=0.5)])
    for changed in ({"label": "b"}, {"split": "test"}, {"media": "0" * 64}, {"payload": {"id": "e2", "x": 1}}):
        assert examples_digest([a, example(2, **changed)]) != examples_digest([a, b])


def test_examples_come_by_split_in_log_order():
    examples = [example(5), example(3, "test"), example(1), example(4, partition=1), example(2, partition=1)]
    version = DatasetVersion(manifest(examples), "d", examples, {}.__getitem__)
    assert [(e.partition, e.offset) for e in version.examples("train")] == [(0, 1), (0, 5), (1, 2), (1, 4)]
    assert [e.offset for e in version.examples("test")] == [3]
    assert version.examples("valid") == [] and len(version.examples()) == len(version) == 5
    with pytest.raises(NotFoundError, match="train"):
        version.examples("dev")


def test_other_examples_than_it_was_made_of_are_refused():
    made = manifest([example(1), example(2)])
    with pytest.raises(DigestError, match="does not hold"):
        DatasetVersion(made, "d", [example(1), example(2, label="b")], {}.__getitem__)
    assert len(DatasetVersion(made, "d", [example(1)], {}.__getitem__, erased=1)) == 1


def test_bytes_are_fetched_by_digest():
    held = example(1, media="abc")
    version = DatasetVersion(manifest([held]), "d", [held], {"abc": b"x"}.__getitem__)
    assert version.bytes_of(held) == b"x" and version.bytes_of(example(1)) == b""


def test_the_digest_of_transforms_is_of_the_data_and_not_of_its_spelling():
    assert augmentation_digest([]) == ""
    assert augmentation_digest([{"a": 1, "b": 2}]) == augmentation_digest([{"b": 2, "a": 1}])
    assert augmentation_digest([{"a": 1}, {"b": 1}]) != augmentation_digest([{"b": 1}, {"a": 1}])
