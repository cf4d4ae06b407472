"""A batch as plain data and bytes, and back."""

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tidemill.errors import TidemillError  # noqa: E402
from training.tree import build, fill, flatten  # noqa: E402


def through(batch):
    said, arrays, size = flatten(batch)
    room = bytearray(size)
    fill(memoryview(room), arrays)
    return build(msgspec.msgpack.decode(msgspec.msgpack.encode(said)), memoryview(room))


def test_a_batch_comes_back_as_it_was():
    batch = {
        "x": torch.arange(24, dtype=torch.float32).reshape(2, 3, 4).transpose(1, 2),
        "y": [torch.tensor([True, False]), torch.tensor(7), torch.zeros(0, 4)],
        "more": (np.arange(3, dtype=np.int16), None, "text", 1.5, True),
    }
    out = through(batch)
    assert torch.equal(out["x"], batch["x"]) and out["x"].dtype == torch.float32
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(out["y"], batch["y"], strict=True))
    assert isinstance(out["more"], tuple) and out["more"][1:] == (None, "text", 1.5, True)
    assert out["more"][0].dtype == np.int16 and out["more"][0].tolist() == [0, 1, 2]


def test_what_cannot_pass_is_named():
    with pytest.raises(TidemillError, match=r"cannot pass.*got set"):
        flatten({"x": {1, 2}})
    with pytest.raises(TidemillError, match="array of object"):
        flatten(np.array([object()]))
