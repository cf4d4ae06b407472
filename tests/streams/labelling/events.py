"""Items, predictions and labels as blocks, for the jobs that read them."""

import numpy as np

from tidemill.block import Block, column
from tidemill.stream import Field, StreamSpec, drift_stream, label_stream, prediction_stream
from tidemill.time import SECOND

START = 1_600_000_000 * SECOND
CLASSES = ["cat", "dog", "eel"]
ITEMS = StreamSpec(
    name="pets",
    fields=(
        Field("id", "string"),
        Field("at", "time"),
        Field("media", "string", nullable=True),
        Field("media_type", "string", nullable=True),
        Field("scene", "string", nullable=True),
        Field("note", "string", nullable=True),
        Field("vector", "json", nullable=True),
    ),
    id="id",
    time="at",
)
STREAMS = {
    "pets": ITEMS,
    "labels.pets": label_stream("pets"),
    "predictions.pets": prediction_stream("pets"),
    "predictions.other": prediction_stream("other"),
    "metrics.watch": drift_stream("watch"),
}


def block(stream, ids, times, **columns):
    n = len(ids)
    cells = {}
    for field in STREAMS[stream].fields:
        if field.name in ("id", "at", "time"):
            continue
        values = columns.get(field.name, [field.default] * n)
        kind = {"int": np.int64, "float": np.float64, "time": np.int64}.get(field.type, np.object_)
        cells[field.name] = column(list(values), kind)
    times = np.asarray(times, np.int64)
    cells["id"] = column(list(ids), np.object_)
    cells["at" if stream == "pets" else "time"] = times
    zeros = np.zeros(n, np.int32)
    sources = column([f"/streams/{stream}"] * n, np.object_)
    topic = STREAMS[stream].topic
    return Block(stream, topic, times, cells["id"], sources, zeros, np.arange(n, dtype=np.int64), zeros, cells)


def items(n, times, rng):
    vectors = rng.normal(size=(n, 4)).tolist()
    return block(
        "pets",
        [f"p{i}" for i in range(n)],
        times,
        media=[f"{i:064x}" for i in range(n)],
        media_type=["image/png"] * n,
        scene=[f"s{i % 7}" for i in range(n)],
        note=[f"note {i}" for i in range(n)],
        vector=vectors,
    )


def predictions(stream, about, times, P, version="1", model="m", prefix="q"):
    n = len(about)
    return block(
        stream,
        [f"{prefix}{i}" for i in range(n)],
        times,
        about=about,
        model=[model] * n,
        version=[version] * n,
        score=[float(p[-1]) for p in P],
        delta=[0] * n,
        feature_sequence=[0] * n,
        outputs=[list(map(float, p)) for p in P],
        inputs_digest=[""] * n,
    )


def labels(about, values, times, prefix="l"):
    return block(
        "labels.pets",
        [f"{prefix}{i}" for i in range(len(about))],
        times,
        about=about,
        value=values,
        by=["x"] * len(about),
    )


def drifts(times, value, by, region, prefix="d"):
    n = len(times)
    told = {"value": value, "by": by, "region": region}
    names = [f"{prefix}{i}" for i in range(n)]
    return block("metrics.watch", names, times, model=["watch"] * n, detector=["adwin"] * n, **told)


def rows(effects, output):
    """The rows of an output, each with its id and time."""
    return [
        {"id": id, "time": int(time), **dict(zip(r.columns, values, strict=True))}
        for r in effects.emit
        if r.output == output
        for id, time, values in zip(r.ids, r.time, zip(*r.columns.values(), strict=True), strict=True)
    ]
