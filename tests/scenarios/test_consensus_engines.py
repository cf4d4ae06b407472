"""The answers of a real crowd, out of order, some twice and some withdrawn, made labels of by one job file on every
engine: the same events in the end, each what the job's step says of them, though every engine writes into the topic
that it reads, and reads there what those before it wrote.

    python -m pytest -s tests/scenarios/test_consensus_engines.py -m slow
"""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from connectors.kafka import KafkaLog
from streams.labelling.consensus import consensus
from tests.scenarios.outside import Outside
from tests.scenarios.test_engines_flights import RUNS, Bench, promise
from tests.streams.labelling.crowds import answer, batch, crowd, project, reviewed, withdrawn
from tidemill.order import EventTime
from tidemill.time import SECOND
from tidemill_app import config
from tidemill_app.stack import lifecycle

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(3600)]

START = 1_380_000_000 * SECOND
SETTINGS = "project='birds', every=400, quiet=60.0, order=EventTime(lateness=30_000_000)"
TOLD = ("estimated", "settled", "revised", "given")


def said(name):
    """The crowd's answers in a random order, every fiftieth withdrawn later, every hundredth item reviewed; a time and
    an id each, in the order of time."""
    answers, truth = crowd(name)
    rng = np.random.default_rng(11)
    rows = [answer(*answers[i]) for i in rng.permutation(len(answers)).tolist()]
    gone = [(i + 1 + int(rng.integers(500)), withdrawn(r["about"], r["by"])) for i, r in enumerate(rows) if i % 50 == 0]
    for at, row in sorted(gone, key=lambda pair: -pair[0]):
        rows.insert(at, row)
    for item in sorted(truth)[::100]:
        rows.insert(int(rng.integers(len(rows))), reviewed(item, truth[item]))
    classes = sorted({a[2] for a in answers})
    rows.insert(0, project(*classes, overlap=(4, 10), sure=0.99) | {"project": "birds"})
    return [{"id": f"e{i}", "time": START + i * SECOND, **row} for i, row in enumerate(rows)]


def sent(rows):
    """The same as they come: a few seconds out of order, and each thirtieth once more."""
    rng = np.random.default_rng(12)
    at = [(i + rng.uniform(0, 20), row) for i, row in enumerate(rows[1:])]
    at += [(when + rng.uniform(0, 5), row) for when, row in at[::30]]
    return [rows[0], *(row for _, row in sorted(at, key=lambda pair: pair[0]))]


def by_step(rows):
    """What the job's step itself says: columns of every row, by output, in order."""
    job = consensus(project="birds", every=400, quiet=60.0, order=EventTime(lateness=30 * SECOND))
    effects, out = job.step(job.init(), batch(rows, rows[-1]["time"] + 3600 * SECOND)), {}
    for part in effects.emit:
        names = ("id", "time", *part.columns)
        columns = zip(part.ids, part.time.tolist(), *part.columns.values(), strict=True)
        out.setdefault(part.output, []).extend(dict(zip(names, row, strict=True)) for row in columns)
    return out


def test_labels_are_settled_the_same_on_every_engine(own_home, tmp_path):
    rows = said("rte")
    wanted = by_step(rows)
    assert all(len(wanted[name]) > 50 for name in TOLD)
    lifecycle.up(config.load(own_home), taskmanagers=1)
    outside = Outside(config.connect(own_home))
    Path(tmp_path / "tasks.jsonl").write_text('{"id": "t0", "time": 0}\n')
    how = ("--id", "id", "--time", "time", "--time-unit", "s")
    outside.tidemill("stream", "create", "birds", "--infer", tmp_path / "tasks.jsonl", *how)
    log = KafkaLog({"bootstrap.servers": outside.bootstrap})
    writer = log.writer()
    for row in sent(rows):
        writer.send("labels.birds", json.dumps(row).encode(), key=row.get("about", "birds").encode())
    writer.close()
    log.close()
    promise(outside, "labels.birds")
    bench = Bench(outside, "consensus", "birds-consensus")
    bench.file = tmp_path / "job.py"
    bench.file.write_text(
        "from streams.labelling.consensus import consensus\nfrom tidemill.order import EventTime\n\n\n"
        f"def job():\n    return consensus({SETTINGS})\n"
    )
    read = sum(1 for _ in outside.read("labels.birds"))
    for engine, options in RUNS[:3]:
        bench.run(engine, *options, output="metrics", rows=len(wanted["metrics"]))
        records = [json.loads(r.value()) for r in outside.read("labels.birds")][read:]
        read += len(records)
        assert {r["source"] for r in records} == {"/jobs/birds-consensus"}
        found = {name: [r for r in records if r["type"] == f"label.{name}.v1"] for name in TOLD}
        print(engine, dict(Counter(r["type"] for r in records)))
        for name in TOLD:
            keys = wanted[name][0]
            assert [{key: row[key] for key in keys} for row in found[name]] == wanted[name], (engine, name)
