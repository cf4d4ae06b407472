import numpy as np
import pytest

from graph.relation import NodeType, Relation
from graph.snapshot import restore, snapshot
from graph.store import TemporalGraph
from tests.graph.reference import found, history, new, play
from tidemill.errors import DigestError, IncompatibleError, MalformedError, NotFoundError, UserError


def kept(folder, ttl=None, length=200):
    graph = new(ttl)
    play(graph, None, history(np.random.default_rng(5), length))
    graph.advance(500, {"data.x/0": 200})
    snapshot(graph, folder)
    return graph


@pytest.mark.parametrize("ttl", [None, 3])
def test_a_restored_graph_goes_on_as_the_one_it_was_taken_of(tmp_path, ttl):
    graph = kept(tmp_path / "kept", ttl)
    again = new(ttl)
    restore(again, tmp_path / "kept", check=True)
    assert (again.clock, again.offsets) == (500, {"data.x/0": 200})
    more = history(np.random.default_rng(6), 300)
    for it in (graph, again):
        play(it, None, more)
    assert again.digest() == graph.digest()
    assert found(again, "knows", "user", 1, 600, 9) == found(graph, "knows", "user", 1, 600, 9)


@pytest.mark.parametrize("in_files", [False, True])
def test_a_restored_graph_has_the_retractions_it_had_and_no_others(tmp_path, in_files):
    graph = new()
    graph.add("knows", [1, 1], [2, 4], [10, 11])
    graph.retract("knows", 1, 2, 20)
    snapshot(graph, tmp_path / "kept")
    again = new(folder=tmp_path / "columns" if in_files else None)
    restore(again, tmp_path / "kept", check=True)
    for it in (graph, again):
        it.add("knows", [1], [3], [30])
        it.retract("knows", 1, 4, 40)
    assert again.digest() == graph.digest()
    assert found(again, "knows", "user", 1, 99, 9) == found(graph, "knows", "user", 1, 99, 9) == [(3, 30, 2)]


def test_a_snapshot_of_other_features_is_refused(tmp_path):
    kept(tmp_path / "kept")
    other = TemporalGraph([NodeType("user", ("age", "size")), "item"], list(new().relations.values()))
    with pytest.raises(IncompatibleError, match="other nodes"):
        restore(other, tmp_path / "kept")


def test_what_is_added_to_a_restored_graph_does_not_change_the_snapshot(tmp_path):
    kept(tmp_path / "kept")
    first, second = new(), new()
    restore(first, tmp_path / "kept")
    digest = first.digest()
    first.retract("knows", 1, 2, 1_000)
    play(first, None, history(np.random.default_rng(7), 500))
    restore(second, tmp_path / "kept", check=True)
    assert second.digest() == digest != first.digest()


def test_a_snapshot_of_whole_numbers_is_mapped_not_read(tmp_path):
    graph = TemporalGraph(["n"], [Relation("r", "n", "n")])
    graph.add("r", np.arange(100_000) % 1_000, np.arange(100_000) % 777, np.arange(100_000))
    snapshot(graph, tmp_path / "kept")
    again = TemporalGraph(["n"], [Relation("r", "n", "n")])
    restore(again, tmp_path / "kept")
    base = again._edges["r"].out.pool.array.base
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    assert again.digest() == graph.digest()


def test_what_is_no_snapshot_is_refused(tmp_path):
    kept(tmp_path / "kept")
    with pytest.raises(UserError, match="is there already"):
        snapshot(new(), tmp_path / "kept")
    with pytest.raises(NotFoundError):
        restore(new(), tmp_path / "nowhere")
    with pytest.raises(IncompatibleError, match="other"):
        restore(TemporalGraph(["n"], [Relation("r", "n", "n")]), tmp_path / "kept")
    column = tmp_path / "kept" / "edges.knows.time.npy"
    data = bytearray(column.read_bytes())
    data[-1] ^= 1
    column.write_bytes(data)
    with pytest.raises(DigestError, match=r"edges\.knows\.time"):
        restore(new(), tmp_path / "kept", check=True)
    manifest = tmp_path / "kept" / "graph.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"edges.knows.time"', '"../edges"'))
    with pytest.raises(MalformedError, match="out of the folder"):
        restore(new(), tmp_path / "kept")
    manifest.write_text("{")
    with pytest.raises(MalformedError):
        restore(new(), tmp_path / "kept")


def test_a_snapshot_that_fails_leaves_nothing(tmp_path, monkeypatch):
    graph = new()
    graph.add("knows", [1], [2], [3])

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="No space"):
        snapshot(graph, tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []
