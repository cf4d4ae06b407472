"""examples/alike as its users run it: edges come by Kafka, embeddings go to a topic and into Redis as they change, and
who asks over HTTP is told the nodes that those embeddings make the nearest."""

import json

import numpy as np
import pytest
from confluent_kafka import Producer

from connectors.redis_cache import FeatureCache
from tests.examples.examples import file_of
from tests.scenarios.outside import Outside
from tests.serving.helpers import until

pytestmark = pytest.mark.stack

CAMP = 8
"""Traders 1 to 8 rate each other, and so do 11 to 18."""


class World(Outside):
    """The example under names of this test, and its stream."""

    def __init__(self, connection, name, folder):
        super().__init__(connection)
        self.name, self.sent, self.redis = name, 0, FeatureCache(connection.redis_client(), f"{name}-alike")
        self.job, self.endpoint, self.folder = f"{name}-alike", f"{name}-alike-near", folder
        self._producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 1})
        text = file_of("alike").read_text()
        for was, now in (("alike", self.job), ("ratings", name)):
            assert f'"{was}"' in text
            text = text.replace(f'"{was}"', f'"{now}"')
        (folder / "job.py").write_text(text)
        (folder / "first.csv").write_text("rater,rated,rating,at\n1,2,5,0\n")
        how = ("--key", "rater", "--time", "at", "--time-unit", "s", "--partitions", 1)
        self.tidemill("stream", "create", name, "--infer", folder / "first.csv", *how)
        self.tidemill("submit", folder / "job.py")

    def publish(self, edges):
        """Ratings, a minute apart."""
        for rater, rated in edges:
            event = {"rater": rater, "rated": rated, "rating": 5, "at": 60 * self.sent}
            self._producer.produce(f"data.{self.name}", json.dumps(event).encode(), partition=0)
            self.sent += 1
        assert self._producer.flush(30) == 0

    def vector(self, trader):
        row = self.redis.get("embeddings", f"trader/{trader}")
        return None if row is None else np.array(row["vector"])

    def alike(self, trader, others):
        """The similarities of the embeddings in Redis; None while one is not there."""
        vectors = [self.vector(one) for one in (trader, *others)]
        if any(vector is None for vector in vectors):
            return None
        first, *rest = (vector / np.linalg.norm(vector) for vector in vectors)
        return [float(first @ vector) for vector in rest]


def ratings(camp, count, rng):
    return [(int(camp + a), int(camp + b)) for a, b in (rng.permutation(CAMP)[:2] for _ in range(count))]


def test_embeddings_reach_topic_redis_and_answers(supervised, fresh, tmp_path):
    world, rng = World(supervised, fresh("near"), tmp_path), np.random.default_rng(2)
    try:
        edges = [edge for pair in zip(ratings(1, 150, rng), ratings(11, 150, rng), strict=True) for edge in pair]
        world.publish(edges)
        with world.serving(world.folder) as client:

            def ask(trader):
                got = client.post(f"/score/{world.endpoint}", json={"rater": trader})
                return got.json() if got.status_code == 200 else None

            def agreed(trader):
                """The answer, once it is of all that was published and what is in Redis says the same."""
                told = ask(trader)
                if told is None or told["position"] < world.sent - 1:  # the newest waits for one that is later
                    return None
                nodes, similar = (told["outputs"][name] for name in ("nodes", "similarity"))
                kept = world.alike(trader, nodes)
                return told if kept is not None and np.allclose(kept, similar, atol=1e-5) else None

            told = until(lambda: agreed(3), 120)
            nearest = [int(node) for node in told["outputs"]["nodes"]]
            assert set(nearest[: CAMP - 1]) == set(range(1, 1 + CAMP)) - {3}
            assert told["score"] == told["outputs"]["similarity"][0] > 0.5
            assert ask(99) is None and world.vector(99) is None
            world.publish([(99, 11 + i) for i in range(CAMP)] + [(1, 2)])
            told = until(lambda: agreed(99), 60)
            assert {int(node) for node in told["outputs"]["nodes"][: CAMP - 1]} <= set(range(11, 11 + CAMP))
            rows = {one["key"]: one["values"]["vector"] for one in world.values(f"features.{world.job}")}
            traders = {*range(1, 1 + CAMP), *range(11, 11 + CAMP), 99}
            assert set(rows) == {f"trader/{trader}" for trader in traders}
            assert all(np.array_equal(rows[f"trader/{trader}"], world.vector(trader)) for trader in traders)
    finally:
        world.run("job", "stop", world.job, "--wait", "0")
