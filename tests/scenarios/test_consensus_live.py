"""The consensus job on a real broker: answers go in and settled labels come out by one and the same topic."""

from __future__ import annotations

import random
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors.kafka import KafkaLog
from streams.engines.local import LocalEngine
from streams.labelling.consensus import consensus
from streams.state_store import FolderStore
from tests.serving.helpers import until
from tests.streams.labelling.crowds import ASKED, START, answer, project, reviewed, withdrawn
from tidemill.checks.reference import read_all
from tidemill.engine import Parts
from tidemill.label_events import LABELLING
from tidemill.order import Arrival, EventTime
from tidemill.stream import answer_stream, label_stream
from tidemill.time import SECOND, SystemClock

pytestmark = pytest.mark.stack


def events(name: str) -> list[dict[str, Any]]:
    rng = random.Random(3)
    out = [project("jay", "wren", overlap=(2, 4), sure=0.9) | {"project": name}]
    for i in range(40):
        truth = ["jay", "wren"][i % 2]
        out += [answer(f"t{i}", f"w{w}", truth if rng.random() < 0.85 else "jay") for w in range(4)]
    rng.shuffle(answers := out[1:])
    out[1:] = answers
    out += [answer("t0", "w0", "owl"), withdrawn("t1", "w1"), reviewed("t2", "wren"), ASKED]
    return [{"id": f"{name}{i}", "time": START + i * SECOND, **event} for i, event in enumerate(out)]


@pytest.mark.parametrize("order", [Arrival(), EventTime(idle_after=0.2)], ids=["arrival", "event time"])
def test_labels_come_out_where_answers_go_in(kafka: str, fresh: Any, tmp_path: Path, order: Any) -> None:
    name = fresh("birds")
    log, spec = KafkaLog({"bootstrap.servers": kafka}), answer_stream(name)
    job = consensus(project=name, method="dawid-skene", every=50, order=order, commit_every=0.05)
    status: dict[str, Any] = {}
    parts = Parts(
        log=log,
        store=FolderStore(tmp_path),
        clock=SystemClock(),
        streams={spec.name: spec},
        report=status.update,
    )
    log.create(spec.topic, label_stream(name).topic_spec())
    stop, writer, sent = threading.Event(), log.writer(), events(name)
    engine = threading.Thread(target=lambda: LocalEngine().run(job, parts, stop.is_set))

    def told() -> list[dict[str, Any]]:
        return [msgspec.json.decode(r.value) for p in log.partitions(spec.topic) for r in read_all(log, p)]

    try:
        for event in sent[: len(sent) // 2]:
            writer.send(spec.topic, msgspec.json.encode(event), key=event.get("about", name).encode())
        writer.flush()
        engine.start()
        until(lambda: any(e["type"] == "label.settled.v1" for e in told()), 60)
        # The rest comes among the job's own events, and without a type in the headers.
        for event in sent[len(sent) // 2 :]:
            writer.send(spec.topic, msgspec.json.encode(event), key=event.get("about", name).encode())
        writer.flush()
        until(lambda: status.get("stepped") == len(sent), 60)
        until(lambda: ("t2", "wren") in {(e["about"], e["value"]) for e in told() if e["type"] == "label.given.v1"}, 60)
    finally:
        stop.set()
        engine.join(30)
        writer.close()
    # Of the answers alone, on the job's step, comes what is in the topic: its own events were nothing to it.
    there = told()
    wrote = [e for e in there if e.get("source") == f"/jobs/{job.name}"]
    assert Counter(e["type"] for e in there) - Counter(e["type"] for e in wrote) == Counter(e["type"] for e in sent)
    assert {e["type"] for e in wrote} <= {*LABELLING, "label.given.v1"}
    (dead,) = [r for p in log.partitions(f"dead.{job.name}") for r in read_all(log, p)]
    assert b"owl" in dead.value and any(b"got 'owl'" in (v or b"") for _, v in dead.headers)
    assert status["stepped"] == len(sent)
    newest = {e["about"]: e["value"] for e in wrote if e["type"] in ("label.settled.v1", "label.revised.v1")}
    given = {e["about"]: e["value"] for e in wrote if e["type"] == "label.given.v1"}
    assert newest["t2"] == "wren" and len(newest) == 40 and given == newest
    assert len({e["id"] for e in wrote if e["type"] == "label.given.v1"}) == sum(
        e["type"] == "label.given.v1" for e in wrote
    )
    log.close()
