"""What every job with a graph answers, over /score and the Open Inference Protocol, of the moment and of the past, is
the same when it is asked again of the log: the same neighbours, the same scores."""

import itertools

import numpy as np
import pytest

from tests.scenarios.test_graph_live import conversations, world_of
from tests.serving.helpers import until

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(1800)]

LIVES, ROUNDS, ROWS = 2, 10, 25
"""Lives of the server, each ended by kill -9; rounds of a life, with edges in between; and of a round the answers over
/score, and as many rows of tensors."""

MADE = """
from MODULE import MAKER
from graph.mapping import EdgeFrom, GraphSpec
from graph.relation import Relation


def job():
    return MAKER(
        name="NAME-links",
        endpoint="NAME",
        spec=GraphSpec(
            nodes=["trader"],
            relations=[Relation("trusts", "trader", "trader")],
            rules=[EdgeFrom("trusts", "NAME", source="rater", target="rated")],
        ),
        commit_every=0.1,
        SETTINGS,
    )
"""

LEARNED = ", metrics_every=EVERY, version_every=EVERY"
SEEDS = 'stream="NAME", seeds={"rater": "trader", "rated": "trader"}, features=["rated"], label="back", positive=1'

JOBS = {
    "links": ("graph.link_job", "link_job", 'relation="trusts"' + LEARNED, {"source": "rater", "target": "rated"}),
    "classes": ("training.graph_classifier", "graph_classifier", SEEDS + LEARNED, {"rater": "rater", "rated": "rated"}),
    "near": ("graph.near_job", "near_job", 'relation="trusts", dims=16', {"node": "rater"}),
    "neighbours": ("graph.job", "graph_job", 'relation="trusts"', {"node": "rater"}),
}
"""Where each is made, with what settings, and what its inputs are called, by the field that each is of."""


def answering(count):
    """As `conversations`, and whether each edge answers the one before."""
    return [(*edge, i % 2) for i, edge in enumerate(conversations(count))]


@pytest.mark.parametrize("kind", list(JOBS))
def test_a_thousand_answers_are_the_same_when_they_are_asked_again(supervised, fresh, tmp_path, kind):
    module, maker, settings, inputs = JOBS[kind]
    text = MADE.replace("SETTINGS", settings).replace("MODULE", module).replace("MAKER", maker)
    rng, positions, asked = np.random.default_rng(5), [-1], 0
    with world_of(supervised, fresh("answers"), tmp_path, answering(1_200), 200, text) as world:
        world.publish(400)
        for life in range(LIVES):
            with world.asked() as client:
                for turn in range(ROUNDS):
                    world.publish(40)
                    before, tried = positions[-1], itertools.count()

                    def ask(client=client, life=life, turn=turn, tried=tried):
                        return scored(client, world, f"q{life}-{turn}-{next(tried)}", rng)

                    until(lambda ask=ask, before=before: ask() > before, 60)
                    positions += [ask() for _ in range(ROWS)]
                    positions.append(tensors(client, world, f"t{life}-{turn}", rng, inputs, kind))
                    asked += next(tried) + ROWS
            asked += 1  # the probe
        assert len(set(positions)) > LIVES * ROUNDS and asked > 1_000
        with world.asked():  # which takes along what the one before it left behind
            until(lambda: len(world.kept()) >= asked, 120)
        found = world.verified()
        assert found["asked"] >= asked and found["skipped"] == {} and found["unequal"] == []
        assert found["equal"] == found["asked"] and found["difference"] <= 1e-6


def drawn(rng, world, n):
    """Traders who have come, and a moment for each, in seconds: one among the edges there are, or 0 for now."""
    moments = rng.integers(1, 60 * world.sent, n) * rng.integers(0, 2, n)
    return rng.integers(0, 40, n).tolist(), rng.integers(0, 40, n).tolist(), moments.tolist()


def scored(client, world, id, rng):
    (rater,), (rated,), (at,) = drawn(rng, world, 1)
    event = {"id": id, "rater": rater, "rated": rated} | ({"at": at} if at else {})
    got = client.post(f"/score/{world.name}", json=event)
    assert got.status_code == 200, got.text
    return got.json()["position"]


def tensors(client, world, id, rng, inputs, kind):
    rater, rated, at = drawn(rng, world, ROWS)
    ids = {"rater": list(map(str, rater)), "rated": list(map(str, rated))}
    given = [(name, "BYTES", ids[field]) for name, field in inputs.items()]
    given.append(("time", "INT64", [1_000_000 * moment for moment in at]))
    told = [{"name": name, "datatype": of, "shape": [ROWS], "data": data} for name, of, data in given]
    if kind == "classes":
        told.append({"name": "features", "datatype": "FP64", "shape": [ROWS, 1], "data": list(map(float, rated))})
    got = client.post(f"/v2/models/{world.job}/infer", json={"id": id, "inputs": told})
    assert got.status_code == 200, got.text
    (position,) = {at for one in got.json()["outputs"] if one["name"] == "position" for at in one["data"]}
    return position
