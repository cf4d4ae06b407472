"""What differs between two versions."""

import msgspec

from connectors.datasets.difference import difference
from connectors.datasets.examples import Example


def one(id, **changed):
    return msgspec.structs.replace(Example("t", 0, 0, id, "", "", {"id": id}, "cat", "", "train"), **changed)


def test_each_kind_of_change_is_told_apart():
    before = [one("a"), one("b"), one("c"), one("d"), one("e")]
    after = [one("a"), one("c", label="dog"), one("d", split="test", confidence=0.3), one("e", media="x"), one("f")]
    assert difference(before, after) == {
        "added": ["f"],
        "removed": ["b"],
        "labels": ["c"],
        "splits": ["d"],
        "content": ["e"],
    }
    assert not any(difference(before, before).values())
