"""Annotators answer, take back, and go home: the labels end as the batch method's, without anybody's doing. Two
processes of the labelling service, a consensus job that by itself would estimate nothing, real Kafka and Redis."""

import random
import threading

import httpx
import numpy as np
import pytest

from connectors.kafka import KafkaLog
from streams.engines.local import LocalEngine
from streams.labelling.consensus import consensus
from streams.labelling.dawid_skene import dawid_skene
from streams.state_store import FolderStore
from tests.scenarios import test_kill_labelling as killing
from tests.serving.helpers import until
from tests.tidemill_app.labelled import begin
from tidemill import events
from tidemill.checks.reference import read_all
from tidemill.engine import Parts
from tidemill.label_events import AnswerGiven, AnswerWithdrawn, EstimationAsked, LabelEstimated
from tidemill.log import Partition
from tidemill.stream import answer_stream
from tidemill.time import SystemClock

pytestmark = pytest.mark.stack
ITEMS = 9


def test_the_end_is_the_batch_methods_without_anybodys_doing(stack, fresh, tmp_path):
    name = fresh("pets")
    tokens = killing.project(stack, name, ITEMS, tmp_path, overlap=(4, 6), lease=60.0)
    log, spec = KafkaLog(stack.confluent()), answer_stream(name)
    job = consensus(project=name, every=1_000_000, quiet=3600.0, commit_every=0.05)
    parts = Parts(log=log, store=FolderStore(tmp_path / "state"), clock=SystemClock(), streams={spec.name: spec})
    stop = threading.Event()
    engine = threading.Thread(target=lambda: LocalEngine().run(job, parts, stop.is_set))
    engine.start()
    services = [begin(stack, tmp_path / f"log{n}", "--estimate-after", "2") for n in range(2)]

    def told():
        return [events.decode(record.value) for record in read_all(log, Partition(spec.topic, 0))]

    def batch():
        """The posterior by item, from the answers that stand in the topic."""
        stands = {}
        for event in told():
            if isinstance(event, AnswerGiven):
                stands[event.about, event.by] = ("cat", "dog").index(event.value)
            elif isinstance(event, AnswerWithdrawn):
                del stands[event.about, event.by]
        ids = [sorted({key[i] for key in stands}) for i in range(2)]
        rows = [(ids[0].index(i), ids[1].index(a), v) for (i, a), v in sorted(stands.items())]
        sizes = {"items": len(ids[0]), "annotators": len(ids[1]), "classes": 2}
        found = dawid_skene(*np.array(rows).T, **sizes, smoothing=1.0)
        return {
            item: dict(zip(("cat", "dog"), p, strict=True)) for item, p in zip(ids[0], found.posterior, strict=True)
        }

    def published():
        return {e.about: e.posterior for e in told() if isinstance(e, LabelEstimated)}

    def is_batch(table):
        wanted = batch()
        near = [abs(table[i][c] - p) < 2e-6 for i, row in wanted.items() if i in table for c, p in row.items()]
        return len(near) == 2 * len(wanted) and all(near)

    def settle(last):
        """Wait until what the service asked for after event `last` was estimated."""
        until(lambda: f"{last}:estimation" in {e.id for e in told()}, 60)
        until(lambda: is_batch(published()), 60)

    try:
        last = answers(services, name, tokens)
        settle(last)
        at_last = [e for e in told() if isinstance(e, AnswerGiven)][-1]
        with httpx.Client(headers={"authorization": f"Bearer {tokens[at_last.by]}"}, timeout=30) as client:
            body = {"answer": at_last.id}
            client.post(f"{services[1].url}/api/projects/{name}/withdraw", json=body).raise_for_status()
        settle(next(e for e in told() if isinstance(e, AnswerWithdrawn)).id)
    finally:
        for service in services:
            service.process.terminate()
            service.process.wait(60)
        stop.set()
        engine.join(30)
    asked = [e.id for e in told() if isinstance(e, EstimationAsked)]
    assert len(asked) == len(set(asked)) >= 2  # the two processes asked each but once
    log.close()


def answers(services, name, tokens):
    """Everybody answers all they are given, one more wrongly than the other; the id of the last answer."""
    rng, last = random.Random(5), ""
    for n, token in enumerate(tokens.values()):
        site = f"{services[n % 2].url}/api/projects/{name}"
        with httpx.Client(headers={"authorization": f"Bearer {token}"}, timeout=30) as client:
            for task in client.post(f"{site}/next", json={"count": ITEMS}).json()["tasks"]:
                right = ("cat", "dog")[int(task["item"][1:]) % 2]
                value = right if rng.random() < 1 - n / 10 else rng.choice(("cat", "dog"))
                done = client.post(f"{site}/answers", json={"lease": task["lease"], "value": value})
                last = done.raise_for_status().json()["answer"]
    return last
