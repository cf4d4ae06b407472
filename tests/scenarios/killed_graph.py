"""A process that grows a graph and learns of it on a real broker until it is killed: as `killed_job.py`."""

import random
import sys
from pathlib import Path
from typing import Any

import msgspec

from connectors.artefacts import ArtefactStore
from connectors.kafka import KafkaLog
from connectors.signing import make_key
from graph.link_job import link_job
from graph.mapping import BarrierFrom, EdgeFrom, ExpertFrom, GraphSpec, NodeFrom, RetractionFrom, Rule
from graph.near_job import near_job
from graph.relation import NodeType, Relation
from streams.engines.local import LocalEngine
from streams.state_store import FolderStore
from tests.scenarios.killed_job import ORDERS
from tidemill.checks.inputs import advanced
from tidemill.checks.scenarios import Scenario
from tidemill.engine import Parts
from tidemill.job import Job
from tidemill.stream import Field, StreamSpec
from tidemill.time import SystemClock
from tidemill_app.publisher import ArtefactPublisher
from training.graph_classifier import Outcome, graph_classifier

PARTITIONS, NODES, LATENESS = 3, 60, 30

VERDICTS = ("assert", "forbid", "weight", "revoke", "perhaps")
"""The last is none."""

TTL = 2e-3
"""Seconds, of about seven milliseconds: most of what came is dropped in the end."""

OFTEN = {"metrics_every": 100, "version_every": 500, "commit_every": 0.05}


def scenario(job: str, name: str, order: str, events: int = 3000) -> Scenario:
    """Edges between a few nodes, in disorder, some late, some that name no node, each with a weight. One event in five
    ends those before, and is a barrier; one in seven is an expert's verdict, or none that there is, and says what a
    node is like. Edges live for `TTL`, but for `classes`, which refuses it. Under `event_time` and `arrival` links are
    learned. Under the others, in event time, it is a class of each edge, from what is around its ends (`classes`), or
    embeddings are kept (`near`)."""
    fields = (
        Field("id", "string"),
        Field("at", "time"),
        Field("key", "string", nullable=True),
        Field("other", "string", nullable=True),
        Field("x", "float"),
        Field("late", "bool", nullable=True),
        Field("verdict", "string"),
    )
    ways = {
        kind: StreamSpec(
            name=f"{name}-{kind}",
            fields=fields,
            id="id",
            time="at",
            key="key",
            time_unit="us",
            partitions=PARTITIONS,
        )
        for kind in ("met", "left", "said")
    }
    made = {"classes": _classes, "near": _near}.get(order, _links)(job, name, order)
    rng, now, sendings = random.Random(7), 1_000_000, []
    for i in range(events):
        now += rng.choice((0, 0, 1, 3, 7))
        (kind,) = rng.choices(("met", "left", "said"), (66, 20, 14))
        spec = ways[kind]
        source = min(int(rng.expovariate(0.1)), NODES - 1)
        row = {
            "id": f"{spec.name}-{i}",
            "at": now - rng.randrange(0, int(LATENESS * 1.2)),
            "key": f"p{source}",
            "other": None if rng.random() < 0.02 else f"p{(source * 7 + rng.randrange(5)) % NODES}",
            "x": rng.random(),
            "late": None if rng.random() < 0.1 else rng.random() < 0.3 + 0.4 * (source % 2),
            "verdict": rng.choices(VERDICTS, (5, 3, 5, 2, 1))[0],
        }
        sendings.append((spec.topic, rng.randrange(PARTITIONS), msgspec.json.encode(row), ()))
    if events:
        sendings += [advanced(s.topic, p, now + 1000, promise=True) for s in ways.values() for p in range(PARTITIONS)]
    return Scenario(job, made, {s.name: s for s in ways.values()}, sendings)


NODES_OF = [NodeType("person", ("x",))]
MET = Relation("met", "person", "person", weighted=True)


def _rules(name: str) -> list[Rule]:
    return [
        EdgeFrom("met", f"{name}-met", source="key", target="other", weight="x"),
        RetractionFrom("met", f"{name}-left", source="key", target="other"),
        BarrierFrom(f"{name}-left", "id"),
        NodeFrom("person", f"{name}-said", id="key"),
        ExpertFrom("met", f"{name}-said", source="key", target="other", verdict="verdict", weight="x"),
    ]


def _links(job: str, name: str, order: str) -> Job[Any]:
    spec = GraphSpec(NODES_OF, [MET], _rules(name), ttl=TTL)
    return link_job(name=job, spec=spec, relation="met", endpoint=f"{job}-links", order=ORDERS[order], **OFTEN)


def _near(job: str, name: str, order: str) -> Job[Any]:
    spec, order_of = GraphSpec(NODES_OF, [MET], _rules(name), ttl=TTL), ORDERS["event_time"]
    return near_job(name=job, spec=spec, relation="met", dims=16, order=order_of, commit_every=OFTEN["commit_every"])


def _classes(job: str, name: str, order: str) -> Job[Any]:
    ended = Relation("ended", "person", "person", features=("late",))
    spec = GraphSpec(NODES_OF, [MET, ended], _rules(name))
    return graph_classifier(
        name=job,
        spec=spec,
        stream=f"{name}-met",
        seeds={"key": "person", "other": "person"},
        features=["x"],
        label="late",
        outcomes=[Outcome("ended", "key", "other")],
        order=ORDERS["event_time"],
        endpoint=f"{job}-classes",
        **OFTEN,
    )


def main(bootstrap: str, job: str, name: str, state: str, order: str, kind: str) -> None:
    what = scenario(job, name, order, events=0)
    log, folder = KafkaLog({"bootstrap.servers": bootstrap}), Path(state).parent
    if not (folder / "key.pem").exists():
        make_key(folder / "key.pem")
    store = ArtefactStore(str(folder / "artefacts"), folder / "key.pem")
    parts = Parts(
        log=log,
        store=FolderStore(state),
        clock=SystemClock(),
        streams=what.streams,
        publisher=ArtefactPublisher(store, log, SystemClock()),
    )
    LocalEngine(max_batch=100, snapshot_every=0.3).run(what.job, parts, lambda: False)


if __name__ == "__main__":
    main(*sys.argv[1:])
