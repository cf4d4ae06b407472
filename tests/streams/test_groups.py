"""Events part by the hash of their key, and each part keeps their order."""

import json

import numpy as np

from streams.groups import Groups, split
from tests.streams.engines.helpers import SPEC, row
from tidemill.decode import Decoder
from tidemill.hashing import xxh64
from tidemill.log import Record
from tidemill.order import Batch


def batch_of(n):
    records = [Record(SPEC.topic, 0, i, None, json.dumps(row(i)).encode(), (), 0) for i in range(n)]
    return Batch.of(Decoder(SPEC).decode(records), wake=7)


def parted(groups, batch, key):
    return split(batch, Groups(groups).of(batch, {"trips": key}))


def test_one_group_takes_the_batch_as_it_is():
    batch = batch_of(5)
    assert parted(1, batch, "who") == [(0, batch)]


def test_each_event_is_in_the_group_of_its_key_in_order():
    batch = batch_of(100)
    parts = parted(4, batch, "who")
    assert [g for g, _ in parts] == sorted({xxh64(f"w{i}".encode()) % 4 for i in range(7)})
    assert sum(len(part) for _, part in parts) == 100
    for group, part in parts:
        block = part.blocks["trips"]
        assert {xxh64(who.encode()) % 4 for who in block.columns["who"]} == {group}
        assert (np.diff(block.offset) > 0).all()
        assert part.wake == 7


def test_without_a_key_all_are_of_one_group():
    [(group, part)] = parted(4, batch_of(10), None)
    assert (group, len(part)) == (xxh64(b"") % 4, 10)
