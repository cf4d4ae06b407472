"""Labels from the answers of many people: who is right is found from how they agree, and published as it is found.

    echo '{"id": "t0", "time": 0}' > tasks.jsonl
    tidemill stream create birds --infer tasks.jsonl --id id --time time --time-unit s
    tidemill submit examples/consensus/job.py
    tidemill tail labels.birds

Answers come from the labelling service, or from any producer of `tidemill.label_events` into the topic `labels.birds`:
first a `project.changed.v1` that says what is asked, then an `answer.given.v1` for every answer, keyed by `about`.
"""

from streams.labelling.consensus import consensus
from tidemill.stream import answer_stream


def job():
    return consensus(project="birds", every=40, quiet=20.0)


def streams():
    return {"answers.birds": answer_stream("birds")}


def sample(seed):
    """A project whose answers come, are given again, withdrawn and reviewed, whose classes change, and what is none."""
    import numpy as np

    from tidemill.block import Block, column

    rng = np.random.default_rng(seed)
    classes = [{"id": name, "name": name} for name in ("jay", "wren", "crow")]
    schema = {"kind": "single", "medium": "image", "classes": classes}
    merged = {**schema, "version": 2, "classes": [*classes[:2], {"id": "crow", "name": "crow", "into": "jay"}]}
    rows = [{"type": "project.changed.v1", "schema": schema, "overlap": [2, 4], "sure": 0.9}]
    for i in range(299):
        about, by = f"t{rng.integers(25)}", f"w{rng.integers(8)}"
        kind, value = rng.random(), ["jay", "wren", "crow"][rng.integers(3)]
        truth = ["jay", "wren", "crow"][int(about[1:]) % 3]
        row = {"type": "answer.given.v1", "about": about, "by": by, "schema": 1}
        row["value"] = truth if rng.random() < 0.7 else value
        if kind < 0.06:
            row = {"type": "answer.withdrawn.v1", "about": about, "by": by}
        elif kind < 0.1:
            row = {"type": "label.reviewed.v1", "about": about, "by": "r", "value": value if kind < 0.09 else None}
        elif kind < 0.12:
            row["value"] = "ostrich" if kind < 0.11 else ["jay"]
        elif i in (120, 240):
            row = {"type": "estimation.asked.v1"}
        elif i == 180:
            row = {"type": "project.changed.v1", "schema": merged, "overlap": [2, 4], "sure": 0.9}
        rows.append(row)
    spec = answer_stream("birds")
    n, time = len(rows), 1_600_000_000_000_000 + np.cumsum(rng.exponential(2e6, len(rows))).astype(np.int64)
    time[150:] += 30_000_000
    columns = {f.name: column([row.get(f.name) for row in rows], np.object_) for f in spec.fields}
    columns |= {"time": time, "id": column([f"e{i}" for i in range(n)], np.object_)}
    for name in ("seconds", "cost", "sure"):
        columns[name] = column([row.get(name) for row in rows], np.float64)
    sources, zeros = column([spec.source] * n, np.object_), np.zeros(n, np.int32)
    return [Block(spec.name, spec.topic, time, columns["id"], sources, zeros, np.arange(n), zeros, columns)]
