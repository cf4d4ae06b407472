"""Experts' verdicts: what is sampled equals a reference that walks over everything, live, saved and mapped."""

import numpy as np
import pytest

from graph.relation import Relation
from graph.snapshot import restore, snapshot
from graph.store import TemporalGraph
from tests.graph.reference import Reference, found, history, new, play, questions
from tidemill.errors import NotFiniteError, UserError
from tidemill.state import decode, encode

STRATEGIES = ({"strategy": "recent"}, {"strategy": "uniform"}, {"strategy": "weighted", "tau": 3.0})
FAR = 1_000


def random_histories(first, count, tmp_path):
    for seed in range(first, first + count):
        rng = np.random.default_rng(seed)
        things = history(rng, int(rng.integers(1, 60)), users=4, verdicts=0.4)
        ttl = None if rng.random() < 0.6 else int(rng.integers(1, 10))
        live, reference = new(ttl), Reference(ttl)
        play(live, reference, things, rng)
        graphs = [live]
        if seed % 10 == 0:
            loaded, mapped = new(ttl), new(ttl)
            loaded.load_state(decode(encode(live.state()), dict))
            snapshot(live, tmp_path / f"{seed}")
            restore(mapped, tmp_path / f"{seed}", check=True)
            graphs += [loaded, mapped]
            if seed % 20 == 0:  # they go on alike
                more = history(rng, 20, users=4, verdicts=0.4)
                for graph, walked in zip(graphs, (reference, None, None), strict=True):
                    play(graph, walked, more)
            assert len({graph.digest() for graph in graphs}) == 1
        for _ in range(12):
            compare(graphs, reference, rng)


def asked(graphs, *args, **options):
    """The one answer of all graphs, None where that long ago is no longer known."""
    answers = []
    for graph in graphs:
        try:
            answers.append(found(graph, *args, **options))
        except UserError as error:
            assert "no longer known" in str(error)
            answers.append(None)
    assert all(answer == answers[0] for answer in answers)
    return answers[0]


def compare(graphs, reference, rng):
    relation, node_type, node, direction, before, k = questions(rng)
    for experts in (True, False):
        seen = reference.standing(relation, node, before, direction, experts)
        pairs = [(node, who) if direction == "out" else (who, node) for who, _, _ in seen]
        weights = [reference.said(relation, *pair, before)[1] if experts else 1.0 for pair in pairs]
        for options in STRATEGIES:
            seed = int(rng.integers(1 << 40))
            query = options | {"direction": direction, "seed": seed, "experts": experts}
            answer = asked(graphs, relation, node_type, node, before, k, **query)
            if answer is None:
                return
            weighted = options["strategy"] == "weighted"
            able = [edge for edge, w in zip(seen, weights, strict=True) if w > 0 or not weighted or len(seen) == 0]
            if options["strategy"] == "recent":
                assert answer == seen[:k]
            assert len(answer) == min(k, len(able)) and set(answer) <= set(able) and len(set(answer)) == len(answer)
            assert sorted(answer, key=lambda e: (e[1], e[2]), reverse=True) == answer
    for graph in graphs:
        there = reference.standing(relation, node, before, direction)
        assert graph.weights(relation, np.array([n for _, _, n in there], np.int64), before).tolist() == [
            reference.said(relation, *((node, who) if direction == "out" else (who, node)), before)[1]
            for who, _, _ in there
        ]
        number = graph.numbers(node_type, [node])[0]
        if number >= 0:
            assert graph.degrees(relation, before, direction=direction)[number] == len(there)
        for experts in (True, False):
            numbers = set(graph.standing(relation, before, experts=experts).tolist())
            users = range(7)
            assert numbers == {n for u in users for _, _, n in reference.standing(relation, u, before, "out", experts)}


def test_sampling_with_verdicts_equals_the_reference(tmp_path):
    random_histories(0, 500, tmp_path)


@pytest.mark.slow
def test_sampling_with_verdicts_equals_the_reference_on_ten_thousand_histories(tmp_path):
    random_histories(1_000, 10_000, tmp_path)
