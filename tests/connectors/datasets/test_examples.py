"""An example is plain data, to be sent to a worker as it is."""

import msgspec

from connectors.datasets.examples import Example


def test_an_example_comes_back_from_its_bytes():
    boxes = [["rbc", 1.0, 2.0, 3.5, 4.0]]
    one = Example("data.cells", 1, 7, "a", "d" * 64, "image/png", {"id": "a", "n": None}, boxes, "g", "train")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=Example) == one
