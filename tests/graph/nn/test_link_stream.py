"""What holds of every network that is trained on a stream of links."""

import copy

import numpy as np
import pytest
import torch

from graph.evaluate import ranks, seeded, stream
from graph.nn.graph_mixer import GraphMixer
from graph.nn.link_stream import between
from graph.nn.tgn import TGN
from tidemill.errors import ConfigError, IncompatibleError
from tidemill.state import decode, encode

MODELS = pytest.mark.parametrize("model", [TGN, GraphMixer])
SMALL = {"width": 16, "time": 8, "features": 32, "k": 5, "group": 20, "rate": 0.005}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


def links(n=600, nodes=40, seed=0):
    """Four in five go to the source's one friend; the others are chance."""
    rng = np.random.default_rng(seed)
    friend = np.random.default_rng(9).permutation(nodes)
    src = rng.integers(0, nodes, n)
    dst = np.where(rng.random(n) < 0.8, friend[src], rng.integers(0, nodes, n))
    return src, dst, np.cumsum(rng.integers(1, 600, n)).astype(float)


def cut(rows, low, high):
    return tuple(column[low:high] for column in rows)


@MODELS
@pytest.mark.parametrize("pairs", [True, False])
def test_it_learns_who_is_whose_friend(model, pairs):
    src, dst, time = links(1_200)
    drawn = seeded(dst[1_000:], np.arange(40), seed=1)
    it = model(**SMALL, pairs=pairs)
    it.fit(src[:1_000], dst[:1_000], time[:1_000], block=50, passes=4)
    scores = stream(it, src[1_000:], dst[1_000:], time[1_000:], drawn, block=50)
    assert (1 / ranks(scores)).mean() > (0.5 if pairs else 0.3), "0.052 is chance"


@MODELS
def test_it_learns_nothing_where_there_is_nothing(model):
    src, dst = np.random.default_rng(5).integers(0, 40, (2, 800))
    drawn = seeded(dst[600:], np.arange(40), seed=1)
    it = model(**SMALL)
    it.fit(src[:600], dst[:600], np.arange(600.0), block=50, passes=2)
    assert (1 / ranks(stream(it, src[600:], dst[600:], np.arange(600.0, 800.0), drawn, block=50))).mean() < 0.052 + 0.06


def test_what_is_between_two_is_the_sum_of_their_links():
    """Rows: 0 nobody, 1 the source, 2 and 3 candidates. The source had two links with 2; 3 had one with it, long ago
    for the source; and a candidate that was never seen had none."""
    told = {"nodes": torch.tensor([[1, 2, 3, 0]]), "near": torch.tensor([[[2, 5, 2], [1, 4, 0], [6, 1, 0], [0, 0, 0]]])}
    links = torch.arange(1.0, 25.0).view(1, 4, 3, 2)
    wanted = [[1.0 + 5.0, 2.0 + 6.0, 7.0, 8.0], [0.0, 0.0, 15.0, 16.0], [0.0] * 4]
    assert between(told, links).tolist() == [wanted]


@MODELS
@pytest.mark.parametrize("block", [1, 25])
def test_no_score_depends_on_what_comes_at_its_time_or_later(model, block):
    """Two streams that part at event 400, which is among those of its block."""
    rows, other = links(), links(seed=1)
    mixed = tuple(np.concatenate([mine[:410], theirs[410:]]) for mine, theirs in zip(rows, other, strict=True))
    drawn = seeded(rows[1][300:], np.arange(40), seed=1, count=10)
    scores = []
    for src, dst, time in (rows, mixed):
        fitted = model(**SMALL)
        fitted.fit(*cut(rows, 0, 300), block=block, passes=1)
        scores.append(stream(fitted, src[300:450], dst[300:450], time[300:450], drawn[:150], block=block))
    assert (scores[0][:110] == scores[1][:110]).all()
    assert (scores[0][130:] != scores[1][130:]).any()


@MODELS
def test_of_what_is_learned_in_a_block_nothing_is_told_of_the_block(model):
    """Weights after a block are those that its links give from the past before it."""
    rows = links(200)
    one, two = model(**SMALL), model(**SMALL)
    for it in (one, two):
        it.learn(*cut(rows, 0, 100))
    told = []
    for it, at in ((one, 100), (two, 101)):
        around = it.around
        it.around = lambda nodes, time, around=around: told.append(around(nodes, time)) or told[-1]
        it.learn(*cut(rows, at, 200))
    # The last group is asked about the same links: but for the one that two has not learned, in none is there a change.
    assert [len(t["nodes"]) for t in told] == [20, 20, 20, 20, 20, 20, 20, 20, 20, 19]
    seen = [int((t["near"] > 0).sum()) for t in told]
    assert seen[0] > 0
    assert one.past.graph.count("link") == 200
    asked_late = told[4]
    assert asked_late["ago"][asked_late["near"] > 0].min() >= rows[2][180] - rows[2][99]


@MODELS
@pytest.mark.parametrize("block", [1, 7])
def test_a_restored_model_goes_on_as_the_undisturbed(model, block):
    rows = links(330)
    whole, first = model(**SMALL), model(**SMALL)
    for low in range(0, 330, block):
        whole.learn(*cut(rows, low, min(low + block, 330)))
    middle = 154
    for low in range(0, middle, block):
        first.learn(*cut(rows, low, low + block))
    saved = first.state()
    assert len(saved["pending.nodes"]), "some have not moved the weights yet"
    second = model(**first.params())
    second.load_state(decode(encode(saved), dict))
    assert encode(second.state()) == encode(saved)
    for low in range(middle, 330, block):
        second.learn(*cut(rows, low, min(low + block, 330)))
    assert encode(second.state()) == encode(whole.state())
    asked = (np.arange(40), np.tile(np.arange(50), (40, 1)), np.full(40, 1e6))
    assert (second.score(*asked) == whole.score(*asked)).all()


@MODELS
def test_the_same_input_and_seed_give_the_same_bytes_and_torch_is_left_alone(model):
    states, before = [], torch.get_rng_state()
    for seed in (3, 3, 4):
        made = model(**SMALL, seed=seed)
        made.fit(*links(100), block=10, passes=2)
        states.append(encode(made.state()))
    assert states[0] == states[1] != states[2]
    assert (torch.get_rng_state() == before).all()


@MODELS
def test_learning_a_block_at_a_time_is_fitting_in_blocks(model):
    rows = links(100)
    fitted, learned = model(**SMALL), model(**SMALL | {"rate": 0.01})
    fitted.fit(*rows, block=7, passes=1)
    for at in range(0, 100, 7):
        learned.learn(*cut(rows, at, at + 7))
    assert encode(fitted.state()) == encode(learned.state())


@MODELS
def test_a_copy_goes_its_own_way(model):
    first = model(**SMALL)
    first.learn(*links(90))
    before = encode(first.state())
    second = copy.deepcopy(first)
    assert encode(second.state()) == before
    second.learn(*links(90, seed=1))
    assert encode(first.state()) == before != encode(second.state())


@MODELS
def test_it_grows_with_nodes_that_come_and_those_never_seen_tie(model):
    it = model(**SMALL)
    it.learn(*links(100))
    known = it.past.nodes
    asked = [5], [[10**15, -3, 7, 10**16]], [1e6]
    first = it.score(*asked)[0]
    assert first[0] == first[1] == first[3] != first[2]
    it.learn([10**15, 5], [-3, 10**15], [2e5, 3e5])
    assert it.past.nodes == known + 2
    later = it.score(*asked)[0]
    assert len({later[0], later[1], later[3]}) == 3
    assert np.isfinite(later).all()


@MODELS
def test_a_frozen_model_keeps_its_weights_and_not_its_past(model):
    it = model(**SMALL, frozen=True)
    before = it.state()
    it.learn(*links(100))
    after = it.state()
    assert all((before[name] == after[name]).all() for name in before if name.startswith("weight"))
    assert len(after["link.time"]) == 100


@MODELS
def test_scores_do_not_depend_on_the_place_of_a_candidate_or_on_the_others(model):
    it = model(**SMALL)
    it.fit(*links(300), block=25, passes=1)
    together = it.score([3], [np.arange(50)], [1e6])[0]
    np.testing.assert_allclose(it.score([3], [np.arange(50)[::-1]], [1e6])[0][::-1], together, atol=1e-5)
    np.testing.assert_allclose([it.score([3], [[c]], [1e6])[0, 0] for c in range(50)], together, atol=1e-5)
    many = np.tile(np.arange(50), (120, 1))
    np.testing.assert_allclose(
        it.score(np.full(120, 3), many, np.full(120, 1e6)), np.tile(together, (120, 1)), atol=1e-5
    )


@MODELS
def test_what_cannot_be_used_is_refused(model):
    for wrong in ({"k": 0}, {"rate": 1.0}, {"strangers": 1.1}, {"group": 0}, {"width": 0}):
        with pytest.raises(ConfigError, match="cannot be built so"):
            model(**wrong)
    it = model(**SMALL)
    it.learn(*links(50))
    with pytest.raises(IncompatibleError, match="not a state of this model; wanted weight"):
        model(**SMALL | {"width": 32}).load_state(it.state())
    for lost in ("counts", "link.time", next(n for n in it.state() if n.startswith("mean."))):
        with pytest.raises(IncompatibleError, match=f"not a state of this model; wanted .*{lost}"):
            model(**SMALL).load_state({n: a for n, a in it.state().items() if n != lost})
    for other in ({"k": 4}, {"negatives": 9}):
        with pytest.raises(IncompatibleError, match="not a state of this model"):
            model(**SMALL | other).load_state(it.state())
    with pytest.raises(ConfigError, match="links asked for cannot be read"):
        it.score([1], [2], [3.0])
    with pytest.raises(ConfigError, match="edges cannot be read"):
        it.learn([1], [2], [np.nan])
