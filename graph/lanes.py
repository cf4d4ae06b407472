"""Eight entries of a pool taken apart at once: the vector instructions that a loop over entries does not compile to.

A compiler that cannot know that five arrays do not overlap takes one entry at a time, and that is half the time of a
sample. So the step is said in LLVM's own vectors, which every machine has instructions for, wide or narrow.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from graph.adjacency import EDGE_BITS

LANES = 8
_WORD, _PLACE = ir.IntType(64), ir.IntType(32)
_ROW, _PICKED = ir.VectorType(_WORD, LANES), ir.VectorType(_PLACE, LANES)


def _alike(value: int) -> ir.Constant:
    return ir.Constant(_ROW, [ir.Constant(_WORD, value)] * LANES)


def _apart(_: Any, entries: Any, base: Any, row: Any, targets: Any, others: Any, times: Any, edges: Any) -> Any:
    """Take `LANES` entries (time, word), the first at address `entries`, the last one first, and write to four more
    addresses: `row`; the neighbour; the time; `base` + the edge. See `adjacency` for what a word holds."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        entries, base, row, targets, others, times, edges = given

        def place(address: Any, kind: ir.Type) -> Any:
            return builder.inttoptr(address, kind.as_pointer())

        def picked(vector: Any, lanes: Any) -> Any:
            return builder.shuffle_vector(vector, vector, ir.Constant(_PICKED, [ir.Constant(_PLACE, i) for i in lanes]))

        def spread(word: Any) -> Any:
            one = builder.insert_element(ir.Constant(_ROW, ir.Undefined), word, ir.Constant(_PLACE, 0))
            return picked(one, [0] * LANES)

        pairs = builder.load(place(entries, ir.VectorType(_WORD, 2 * LANES)), align=8)
        words = picked(pairs, range(2 * LANES - 1, 0, -2))
        found = builder.and_(builder.lshr(words, _alike(2)), _alike((1 << EDGE_BITS) - 1))
        columns = (
            (targets, spread(row)),
            (others, builder.ashr(words, _alike(EDGE_BITS + 2))),
            (times, picked(pairs, range(2 * LANES - 2, -1, -2))),
            (edges, builder.add(found, spread(base))),
        )
        for address, values in columns:
            builder.store(values, place(address, _ROW), align=8)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 7), code


apart: Any = intrinsic(_apart)


@njit(cache=True, nogil=True)
def all_apart(end: int, count: int, base: int, row: int, at: Any, columns: tuple[int, int, int, int]) -> None:
    """`apart` of `count` entries, `LANES` or more, that end at address `end`, into `columns`, `at` bytes on.

    It takes addresses, as arrays would be counted as used and unused again for every node."""
    done, (targets, others, times, edges) = 0, columns
    while done < count:
        # The last ones overlap with those before, where their number is no whole number of lanes.
        done = min(done, count - LANES)
        to = at + 8 * done
        apart(end - 16 * (done + LANES), base, row, targets + to, others + to, times + to, edges + to)
        done += LANES
