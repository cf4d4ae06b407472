"""The reorder buffer gives out exactly what the watermark has passed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.buffer import ReorderBuffer
from tests.streams.test_dedupe import block
from tidemill import state as states
from tidemill.block import Block
from tidemill.log import Partition

OPERATIONS = st.lists(st.one_of(st.lists(st.integers(0, 50), min_size=1, max_size=6), st.integers(0, 60)), max_size=60)


@given(OPERATIONS, st.booleans())
def test_it_holds_and_releases_like_a_plain_list(operations, saved):
    buffer, held, number = ReorderBuffer(), [], 0
    for operation in operations:
        if isinstance(operation, list):
            rows = [(t, "s", f"e{number + i}") for i, t in enumerate(operation)]
            number += len(rows)
            buffer.add(Partition("t", number % 2), block(rows))
            held += [(t, id) for t, _, id in rows]
        else:
            got = [x for b in buffer.release(operation) for x in zip(b.time.tolist(), b.ids.tolist(), strict=True)]
            assert sorted(got) == sorted(h for h in held if h[0] < operation)
            held = [h for h in held if h[0] >= operation]
        assert len(buffer) == len(held) == sum(buffer.sizes().values())
        if saved:
            data = states.encode(buffer.snapshot())
            buffer = ReorderBuffer()
            buffer.restore(states.decode(data, list[tuple[str, int, list[Block]]]))


def test_single_events_are_merged_into_few_runs():
    buffer = ReorderBuffer()
    for t in np.random.default_rng(1).permutation(2000).tolist():
        buffer.add(Partition("t", 0), block([(t, "s", str(t))]))
    assert len(buffer.snapshot()[0][2]) < 25
