"""A carrier's model is the one that saw its flights alone, however the carriers are grouped; and the lines are few."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from connectors import arrow
from connectors.memory import MemoryLog
from streams.learners.logistic import ScaledLogistic
from streams.state_store import FolderStore
from tests.examples.examples import example, file_of, january
from tests.streams.engines.helpers import rows_of, run
from tidemill.block import Block, column
from tidemill.checks.inputs import advanced
from tidemill.checks.jobs import by_group, keyed
from tidemill.cloudevents import ARROW
from tidemill.order import Batch
from tidemill.time import DAY


def arrivals() -> Block:
    flights = january("flights").blocks["flights"]
    fields = [*example("carriers").FEATURES, "carrier"]
    late = column([i % 5 == 0 if i % 9 else None for i in range(len(flights))], np.object_)
    columns = {name: flights.columns[name] for name in fields} | {"late": late}
    return replace_columns(flights, columns)


def replace_columns(block: Block, columns: dict[str, Any]) -> Block:
    return Block(
        "arrivals", "data.arrivals", block.time, block.ids, block.sources,
        block.partition, block.offset, block.row, columns,
    )  # fmt: skip


def test_the_job_is_short() -> None:
    assert len(file_of("carriers").read_text().splitlines()) <= 30


def test_each_carrier_has_a_model_of_its_own() -> None:
    module, block = example("carriers"), arrivals()
    scores: list[dict[str, float]] = []
    for groups in (16, 3, 1):
        job = keyed(replace(module.job(), groups=groups), module.streams())
        made: dict[str, float] = {}
        for _, part in by_group(job, Batch.of([block])):
            for rows in job.step(job.init(), part).emit:
                if rows.output == "predictions":
                    made.update(zip(rows.ids, rows.columns["score"].tolist(), strict=True))
        scores.append(made)
    assert scores[0] == scores[1] == scores[2] and len(scores[0]) == len(block)
    X = np.column_stack([block.columns[name].astype(float) for name in module.FEATURES])
    y = np.array([np.nan if v is None else float(v) for v in block.columns["late"]])
    for carrier in ("UA", "HA"):
        mine, one = np.flatnonzero(block.columns["carrier"] == carrier), ScaledLogistic(module.FEATURES)
        ops = np.where(np.isnan(y[mine]), 0, 2).astype(np.uint8)
        want = one.run_block(ops, X[mine], np.nan_to_num(y[mine]))
        assert [scores[0][id] for id in block.ids[mine]] == want.tolist()


def test_it_reads_what_the_arrivals_job_writes(tmp_path: Path) -> None:
    log, joins, carriers = MemoryLog(), example("arrivals"), example("carriers")
    batch = january("flights", "labels.flights")
    streams = joins.streams()
    for name, spec in streams.items():
        log.create(spec.topic, spec.topic_spec())
        writer, block = log.writer(), batch.blocks[name]
        columns = {"id": block.ids, "time": block.time, **block.columns}
        writer.send(spec.topic, arrow.encode(columns), headers=(("content-type", ARROW.encode()),))
        moved = advanced(spec.topic, 0, int(batch.time[-1]) + 3 * DAY, promise=True)
        writer.send(spec.topic, moved[2], headers=moved[3])
        writer.flush()
    run(joins.job(), log, FolderStore(tmp_path / "arrivals"), streams=streams, arrow_decode=arrow.decode)
    told = run(carriers.job(), log, FolderStore(tmp_path / "carriers"), streams=carriers.streams())
    flights, labels = len(batch.blocks["flights"]), len(batch.blocks["labels.flights"])
    # All but those of the last time: that the stream has gone on, no later event says.
    assert told["dead"] == 0 and flights - 100 < told["stepped"] <= flights
    scored = rows_of(log, "predictions.carriers")
    assert len(scored) == told["stepped"] and labels > 10_000
