"""The remembered past of links: hand-worked, grown, cut into blocks and restored."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.link_history import IN, OUT, PARTNERS_IN, PARTNERS_OUT, REPEATS_OUT, REPLIES_OUT, LinkHistory
from tidemill.errors import ConfigError, IncompatibleError
from tidemill.state import decode, encode

streams = st.lists(st.tuples(st.integers(-3, 5), st.integers(-3, 5), st.integers(0, 40)), min_size=1, max_size=80).map(
    lambda rows: np.array(rows, np.int64)
)


def taken_in(rows: np.ndarray, cuts: list[int] | None = None) -> LinkHistory:
    history = LinkHistory()
    for part in np.split(rows, cuts or []):
        history.update(part[:, 0], part[:, 1], part[:, 2] * 100.0)
    return history


def test_a_tiny_history_by_hand() -> None:
    history = LinkHistory(scales=[10.0])
    history.update([7, 9, 7, 7], [9, 7, 9, 8], [0.0, 10.0, 20.0, 20.0])
    state = history.state()
    assert state["node_id"].tolist() == [7, 9, 8]
    assert state["node_count"][0, [OUT, IN, PARTNERS_OUT, PARTNERS_IN]].tolist() == [3, 1, 2, 1]
    assert state["node_count"][0, [REPEATS_OUT, REPLIES_OUT]].tolist() == [1, 1]
    assert state["node_time"].tolist() == [[0.0, 20.0, 10.0], [0.0, 10.0, 20.0], [20.0, 0.0, 20.0]]
    assert state["pair_key"].tolist() == [1, 1 << 32, 2]
    assert state["pair_count"].tolist() == [2, 1, 1]
    assert state["pair_decay"][:, 0] == pytest.approx([1 + np.exp(-2), 1, 1])
    assert state["node_decay"][0, OUT, 0] == pytest.approx(2 + np.exp(-2))
    assert state["ring_node"][0, OUT, :3].tolist() == [1, 1, 2]
    assert state["size"].tolist()[:3] == [3, 3, 4]


@settings(deadline=None, max_examples=60)
@given(streams, st.lists(st.integers(0, 80), max_size=6))
def test_cutting_into_blocks_changes_no_byte(rows: np.ndarray, cuts: list[int]) -> None:
    assert encode(taken_in(rows).state()) == encode(taken_in(rows, sorted(cuts)).state())


@settings(deadline=None, max_examples=60)
@given(streams, streams)
def test_a_restored_history_goes_on_as_the_first(before: np.ndarray, after: np.ndarray) -> None:
    first = taken_in(before)
    second = LinkHistory(**first.params())
    second.load_state(decode(encode(first.state()), dict))
    for history in (first, second):
        history.update(after[:, 0], after[:, 1], after[:, 2] * 100.0)
    assert encode(first.state()) == encode(second.state())


@settings(deadline=None, max_examples=60)
@given(streams)
def test_who_came_as_which_end_is_known_in_the_order_of_coming(rows: np.ndarray) -> None:
    grown, restored = taken_in(rows), LinkHistory()
    restored.load_state(grown.state())
    for history in (grown, restored):
        h = history.arrays
        for way, column in ((OUT, rows[:, 0]), (IN, rows[:, 1])):
            assert h.node_id[h.ends[way, : h.ended[way]]].tolist() == list(dict.fromkeys(column.tolist()))
        assert not h.stamp.any()


def test_nodes_and_pairs_grow_without_a_limit() -> None:
    rng = np.random.default_rng(0)
    src, dst = rng.integers(-(2**62), 2**62, (2, 20_000))
    history = LinkHistory()
    history.update(src, dst, np.arange(20_000.0))
    history.update(src, dst, np.arange(20_000.0, 40_000.0))
    assert (history.nodes, history.events) == (40_000, 40_000)
    assert (history.state()["pair_count"] == 2).all()


def test_a_late_edge_counts_as_no_time_elapsed() -> None:
    history = LinkHistory(scales=[10.0])
    history.update([1, 1], [2, 2], [100.0, 50.0])
    assert history.state()["pair_decay"].tolist() == [[2.0]]


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(ConfigError):
        LinkHistory(scales=[0.0])
    with pytest.raises(ConfigError):
        LinkHistory().update([1], [2], [np.nan])
    with pytest.raises(ConfigError):
        LinkHistory().update([1, 2], [2], [0.0])
    state = LinkHistory().state()
    with pytest.raises(IncompatibleError):
        LinkHistory().load_state({"size": state["size"]})
    with pytest.raises(IncompatibleError):
        LinkHistory(scales=[1.0]).load_state(state)
