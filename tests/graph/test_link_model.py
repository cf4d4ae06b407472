import numpy as np
import pytest

from graph.evaluate import Links, evaluate, random_negatives
from graph.link_model import LinkModel
from tidemill.errors import ConfigError
from tidemill.state import decode, encode


def stream(seed, count=2_000, nodes=40):
    """Each source mostly answers whoever linked to it last."""
    rng = np.random.default_rng(seed)
    last = {}
    source, target = [], []
    for _ in range(count):
        u = int(rng.integers(nodes))
        v = last.get(u) if rng.random() < 0.8 else None
        v = int(rng.integers(nodes)) if v is None else v
        last[v] = u
        source.append(u)
        target.append(v)
    return Links(np.array(source), np.array(target), np.cumsum(rng.exponential(60.0, count)))


def fitted(links, **settings):
    model = LinkModel(**settings)
    for part in links.blocks():
        model.learn(part.source, part.target, part.time)
    model.fit(4)
    return model


@pytest.mark.parametrize("protocol", ["causal", "stale"])
def test_it_learns_what_there_is_to_learn(protocol):
    links = stream(1, 4_000)
    train, test = links.part(0, 3_000), links.part(3_000, 4_000)
    negatives = random_negatives(test, np.arange(40), 20, 1)
    unfitted = LinkModel(steps=0)
    unfitted.learn(train.source, train.target, train.time)
    before = evaluate(unfitted, test, negatives, protocol).mrr
    after = evaluate(fitted(train), test, negatives, protocol).mrr
    # Under stale most answers are to links of the same block, which nobody can know.
    assert after > before + 0.05 and after > {"causal": 0.65, "stale": 0.4}[protocol], (before, after)


def test_the_same_links_give_the_same_bytes_and_a_restored_model_goes_on_alike():
    links = stream(2)
    one, two = fitted(links.part(0, 1_200)), fitted(links.part(0, 1_200))
    state = encode(one.state())
    assert encode(two.state()) == state
    three = LinkModel(**one.params())
    three.load_state(decode(state, dict))
    assert encode(three.state()) == state
    candidates = np.random.default_rng(1).integers(0, 40, (800, 7))
    rest = links.part(1_200, 2_000)
    for first in range(0, 800, 130):
        part = rest.part(first, first + 130)
        here = candidates[first : first + 130]
        scores = [m.score_and_learn(part.source, part.target, here, part.time) for m in (one, three)]
        np.testing.assert_array_equal(*scores)
    assert encode(one.state()) == encode(three.state()) != state


def test_memory_is_bounded_and_keeps_the_newest():
    links = stream(3, 1_500)
    model = LinkModel(memory=400, batch=100)
    for part in links.blocks(100):
        model.learn(part.source, part.target, part.time)
    assert model.state()["examples"].shape[0] == 400
    other = LinkModel(memory=2_000, batch=100)
    for part in links.blocks(100):
        other.learn(part.source, part.target, part.time)
    np.testing.assert_array_equal(model.state()["examples"], other.state()["examples"][-400:])


def test_a_score_does_not_hang_on_the_other_candidates_and_sees_nothing_of_its_link():
    links = stream(4)
    model = fitted(links.part(0, 1_500))
    u, now = links.source[1_500:1_501], links.time[1_500:1_501]
    many = model.score(u, np.arange(40)[None, :], now)[0]
    alone = [float(model.score(u, np.array([[v]]), now)[0, 0]) for v in range(40)]
    np.testing.assert_allclose(many, alone, rtol=1e-4, atol=1e-5)
    before = model.score(u, np.arange(40)[None, :], now)
    seen = model.score_and_learn(u, links.target[1_500:1_501], np.arange(40)[None, :], now)
    np.testing.assert_allclose(seen, before, rtol=1e-4, atol=1e-5)


def test_sizes_that_cannot_be_are_refused():
    for settings in ({"hidden": (0, 1)}, {"negatives": 0}, {"memory": 10}, {"steps": -1}):
        with pytest.raises(ConfigError, match="out of range"):
            LinkModel(**settings)
