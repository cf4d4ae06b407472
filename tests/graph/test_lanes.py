import numpy as np
from numba import njit

from graph.adjacency import EDGE_BITS, MAX_EDGES, MAX_NODES, MIN_TIME
from graph.lanes import LANES, apart


@njit
def taken(entries, base, row, out):
    of = out.ctypes.data
    step = out.shape[1] * 8
    apart(entries.ctypes.data, base, row, of + 8, of + step + 8, of + 2 * step + 8, of + 3 * step + 8)


def test_entries_come_apart_the_last_first_and_nothing_else_is_written():
    rng = np.random.default_rng(0)
    times = np.append(rng.integers(MIN_TIME, -MIN_TIME - 1, LANES - 2), [MIN_TIME, -MIN_TIME - 1])
    nodes = np.append(rng.integers(0, MAX_NODES, LANES - 2), [0, MAX_NODES - 1])
    edges = np.append(rng.integers(0, MAX_EDGES, LANES - 2), [MAX_EDGES - 1, 0])
    marks = np.arange(LANES) % 4
    entries = np.stack([times, (nodes << (EDGE_BITS + 2)) | (edges << 2) | marks], axis=1)
    out = np.full((4, LANES + 2), -7)
    taken(entries, 1 << 40, 5, out)
    wanted = np.full(LANES, 5), nodes[::-1], times[::-1], edges[::-1] + (1 << 40)
    np.testing.assert_array_equal(out[:, 1:-1], np.stack(wanted))
    assert (out[:, [0, -1]] == -7).all()
