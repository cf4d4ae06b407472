"""A graph that grows while it is asked: every answer, of a server killed in between too, is the same when it is asked
again of the log, at the position and with the weights that it names."""

import contextlib
import csv
import gzip
import json
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Producer

from tests.scenarios.outside import Outside
from tests.serving.helpers import until

pytestmark = pytest.mark.stack

DATA = Path(os.environ.get("TIDEMILL_DATA", "../shared/data")) / "bitcoin_otc" / "soc-sign-bitcoinotc.csv.gz"

LIVES, ROUNDS = 2, 6

JOB = """
from graph.link_job import link_job
from graph.mapping import EdgeFrom, GraphSpec
from graph.relation import Relation


def job():
    return link_job(
        name="NAME-links",
        spec=GraphSpec(
            nodes=["trader"],
            relations=[Relation("trusts", "trader", "trader")],
            rules=[EdgeFrom("trusts", "NAME", source="rater", target="rated")],
        ),
        relation="trusts",
        metrics_every=EVERY,
        version_every=EVERY,
        commit_every=0.1,
    )
"""


COLUMNS = ("id", "rater", "rated", "at", "back")
"""Of an edge; the last one may be left out."""


class World(Outside):
    """A stream of edges, the job that learns them (`text`, whose endpoint is that of the stream), and a server for as
    long as it lives."""

    def __init__(self, connection, name, folder, edges, every, text=JOB):
        super().__init__(connection)
        self.name, self.folder, self.job = name, folder, f"{name}-links"
        self.edges, self.acknowledged = edges, [0.0] * len(edges)
        self.sent = 0
        self._producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 1})
        (folder / "job.py").write_text(text.replace("NAME", name).replace("EVERY", str(every)))
        with open(folder / "first.csv", "w", newline="") as out:
            rows = csv.writer(out)
            rows.writerow(COLUMNS[: len(edges[0])])
            rows.writerows(edges[:50])
        how = ("--id", "id", "--time", "at", "--time-unit", "s", "--partitions", 1)
        self.tidemill("stream", "create", name, "--infer", folder / "first.csv", *how)
        self.tidemill("submit", folder / "job.py")

    def publish(self, count):
        """The next edges, acknowledged by the broker."""
        upto = min(self.sent + count, len(self.edges))
        for edge in self.edges[self.sent : upto]:
            event = dict(zip(COLUMNS, edge, strict=False))
            self._producer.produce(f"data.{self.name}", json.dumps(event).encode(), partition=0)
        assert self._producer.flush(30) == 0
        self.acknowledged[self.sent : upto] = [time.monotonic()] * (upto - self.sent)
        self.sent = upto

    @contextlib.contextmanager
    def asked(self):
        """A server that answers for this endpoint; killed (kill -9) at the end."""
        with self.serving(self.folder, kill=True) as client:
            probe = {"id": f"probe-{time.monotonic_ns()}", "rater": 1, "rated": 2}
            until(lambda: client.post(f"/score/{self.name}", json=probe).status_code == 200, 120)
            yield client

    def kept(self):
        return [one["about"] for one in self.values(f"predictions.{self.name}")]

    def verified(self):
        """What `tidemill graph verify` says of all that is in the log."""
        about = self.kept()
        assert len(set(about)) == len(about), "an answer is there twice"
        return self.tidemill("graph", "verify", self.job, timeout=900)


@contextlib.contextmanager
def world_of(connection, name, folder, edges, every, text=JOB):
    made = World(connection, name, folder, edges, every, text)
    try:
        yield made
    finally:
        made.run("job", "stop", made.job, "--wait", "0")


def conversations(count, nodes=40, seed=3):
    """Every other edge answers the one before; a minute apart."""
    src, dst = np.random.default_rng(seed).integers(0, nodes, (2, count))
    src[1::2], dst[1::2] = dst[0::2], src[0::2]
    return [(f"e{i:06}", int(a), int(b), 60 * i) for i, (a, b) in enumerate(zip(src, dst, strict=True))]


def test_every_answer_is_the_same_when_it_is_asked_again(supervised, fresh, tmp_path):
    with world_of(supervised, fresh("live"), tmp_path, conversations(1_200), 300) as world:
        rng, lives = np.random.default_rng(8), []

        def ask(client, answers):
            rater, rated = rng.integers(0, 44, 2).tolist()
            event = {"id": f"q{len(lives)}-{len(answers)}", "rater": rater, "rated": rated}
            got = client.post(f"/score/{world.name}", json=event)
            assert got.status_code == 200, got.text
            answers.append(got.json())
            return answers[-1]["position"]

        world.publish(400)
        for _ in range(LIVES):
            answers = []
            lives.append(answers)
            with world.asked() as client:
                for _ in range(ROUNDS):
                    before = ask(client, answers)
                    for _ in range(10):
                        world.publish(4)
                        ask(client, answers)
                    until(lambda client=client, to=answers, at=before: ask(client, to) > at, 60)
                asked_why(client, world, answers, lives)
                position = tensors(client, world, len(lives))
                assert position >= answers[-1]["position"]
                asked = sum(map(len, lives)) + (3 + 1) * len(lives)  # rows of tensors, and the probe
                if len(lives) == LIVES:  # with what the one that was killed left behind
                    until(lambda asked=asked: len(world.kept()) >= asked, 60)
        for answers in lives:
            positions = [one["position"] for one in answers]
            assert positions == sorted(positions) and len(set(positions)) > ROUNDS
            assert len({one["delta"] for one in answers}) > 3
        assert len({one["version"] for answers in lives for one in answers}) > 1
        found = world.verified()
        assert found["asked"] >= asked and found["skipped"] == {} and found["unequal"] == []
        assert found["equal"] == found["asked"] and found["difference"] <= 1e-6
        assert found["endpoint"] == world.name


def asked_why(client, world, answers, lives):
    """The command asks the same server, and draws what the answer rests on."""
    event, page = world.folder / "event.json", world.folder / "why.html"
    event.write_text(json.dumps({"id": f"why{len(lives)}", "rater": 1, "rated": 2}))
    words = (world.name, event, "--url", str(client.base_url), "--page", page)
    told = world.tidemill("graph", "explain", *words)
    assert told["endpoint"] == world.name and told["rests_on"]["asked"] == {"source": 1, "target": 2}
    text = page.read_text()
    assert text.count("<svg") == 1 and "source 1" in text and "target 2" in text and told["id"] in text
    answers.append(told)


def tensors(client, world, life):
    """Three rows over the Open Inference Protocol; the position that they name."""
    given = [("source", "BYTES", ["1", "2", "999"]), ("target", "BYTES", ["2", "3", "4"])]
    given.append(("time", "INT64", [0, 0, 30_000_000_000]))
    inputs = [{"name": n, "datatype": kind, "shape": [3], "data": data} for n, kind, data in given]
    got = client.post(f"/v2/models/{world.job}/infer", json={"id": f"t{life}", "inputs": inputs})
    assert got.status_code == 200, got.text
    (position,) = {at for one in got.json()["outputs"] if one["name"] == "position" for at in one["data"]}
    return position


def ratings():
    with gzip.open(DATA, "rt") as lines:
        rows = list(csv.reader(lines))[1:]
    rows.sort(key=lambda row: float(row[3]))
    return [(f"e{i:06}", int(row[0]), int(row[1]), float(row[3])) for i, row in enumerate(rows)]


class Publishing(threading.Thread):
    """Publishes the rest, a few edges every so often."""

    def __init__(self, world, count, pause):
        super().__init__()
        self.world, self.count, self.pause = world, count, pause
        self.ended = threading.Event()

    def run(self):
        while self.world.sent < len(self.world.edges) and not self.ended.wait(self.pause):
            self.world.publish(self.count)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not DATA.exists(), reason="needs bitcoin_otc in TIDEMILL_DATA")
def test_ten_thousand_answers_on_bitcoin_otc(supervised, fresh, tmp_path):
    """And how long an edge takes from the broker's acknowledgement to the first answer that covers it; printed."""
    edges, asked, lives = ratings(), 10_000, 4
    with world_of(supervised, fresh("otc"), tmp_path, edges, 5_000) as world:
        rng, seen, positions, deltas, took = np.random.default_rng(9), [], [], set(), []
        world.publish(5_000)
        for life in range(lives):
            publishing = Publishing(world, 10, 0.02)
            with world.asked() as client:
                covered = client.post(f"/score/{world.name}", json={"rater": 1, "rated": 2}).json()["position"]
                publishing.start()
                for i in range(asked // lives):
                    _, rater, rated, _ = edges[int(rng.integers(min(world.sent + 200, len(edges))))]
                    event = {"id": f"q{life}-{i}", "rater": rater, "rated": rated}
                    begun = time.monotonic()
                    got = client.post(f"/score/{world.name}", json=event)
                    now = time.monotonic()
                    assert got.status_code == 200, got.text
                    answer = got.json()
                    took.append(now - begun)
                    seen += [now - told for told in world.acknowledged[covered : answer["position"]] if told]
                    covered = max(covered, answer["position"])
                    positions.append(answer["position"])
                    deltas.add(answer["delta"])
                publishing.ended.set()
                publishing.join()
        print(
            f"\n{asked:,} answers at {len(set(positions)):,} positions and {len(deltas):,} deltas, "
            f"median {1e3 * np.median(took):.1f} ms, 99 % {1e3 * np.quantile(took, 0.99):.1f} ms; "
            f"{len(seen):,} edges visible after: median {np.median(seen):.3f} s, 95 % {np.quantile(seen, 0.95):.3f} s, "
            f"99 % {np.quantile(seen, 0.99):.3f} s, most {max(seen):.3f} s"
        )
        assert len(set(positions)) > 100 and len(deltas) > 100 and len(seen) > 5_000
        with world.asked():  # which takes along what the one before it left behind
            until(lambda: len(world.kept()) >= asked, 120)
        found = world.verified()
        print(found)
        assert found["asked"] >= asked and found["skipped"] == {} and found["unequal"] == []
        assert found["equal"] == found["asked"] and found["difference"] <= 1e-6
