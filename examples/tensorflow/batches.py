"""Neighbourhoods for TensorFlow: samples of a temporal graph leave as NumPy arrays, and TensorFlow reads them in place.

A stream of messages is made up, in which who was written to writes back; a small Keras model learns, from the ages of
the newest messages between two people and around them, whether the one will write to the other. Each batch is sampled
as of the moments of its own messages, so the graph holds the whole stream and nothing leaks.

    pip install tensorflow-cpu
    python examples/tensorflow/batches.py
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graph.relation import Relation
from graph.store import TemporalGraph

PEOPLE, MESSAGES, NEWEST, BATCH = 200, 20_000, 8, 256
SECOND = 1_000_000


def messages(seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source, target and time (µs): two thirds answer one of the last ten messages, the others are at random."""
    rng = np.random.default_rng(seed)
    src, dst = rng.integers(0, PEOPLE, (2, MESSAGES))
    for i in range(10, MESSAGES):
        if rng.random() < 2 / 3:
            answered = i - rng.integers(1, 10)
            src[i], dst[i] = dst[answered], src[answered]
    return src, dst, np.arange(1, MESSAGES + 1) * SECOND


def grown(src: np.ndarray, dst: np.ndarray, time: np.ndarray) -> TemporalGraph:
    graph = TemporalGraph(["person"], [Relation("wrote", "person", "person")])
    graph.make("person", np.arange(PEOPLE))
    graph.add("wrote", src, dst, time)
    return graph


def rows(graph: TemporalGraph, src: np.ndarray, dst: np.ndarray, before: np.ndarray) -> np.ndarray:
    """(n, 4 × NEWEST) float32: ages of the newest messages that `src` wrote and got, and `dst`, each −1 where there is
    none; marked as of the other person, they count negative ages from 1 on, so that a pair's own stand out."""
    columns = []
    for nodes, others in ((src, dst), (dst, src)):
        for direction in ("out", "in"):
            found = graph.neighbours("wrote", nodes, before, NEWEST, direction=direction)
            age = np.log1p((before[:, None] - found.times) / SECOND) / 10
            age = np.where(found.nodes == others[:, None], 2.0 - age, age)
            columns.append(np.where(found.nodes < 0, -1.0, age))
    return np.ascontiguousarray(np.concatenate(columns, axis=1), np.float32)


def batches(graph: TemporalGraph, first: int, end: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Features and labels: each message beside one to somebody drawn, as of its own moment."""
    rng = np.random.default_rng(seed)
    for at in range(first, end, BATCH):
        src, dst, time, _ = graph.edges("wrote", np.arange(at, min(at + BATCH, end)))
        drawn = rng.integers(0, PEOPLE, len(src))
        true, false = rows(graph, src, dst, time), rows(graph, src, drawn, time)
        yield np.concatenate([true, false]), np.repeat(np.float32([1, 0]), len(src))


def main() -> None:
    import tensorflow as tf

    graph = grown(*messages())
    few = next(batches(graph, 0, BATCH, 0))[0]
    # The same memory: DLPack, as NumPy, PyTorch and TensorFlow speak it.
    shared = tf.experimental.dlpack.from_dlpack(few.__dlpack__())
    print(f"a batch of {shared.shape} without a copy")
    model = tf.keras.Sequential([tf.keras.layers.Dense(64, "relu"), tf.keras.layers.Dense(1, "sigmoid")])
    model.compile("adam", "binary_crossentropy", metrics=[tf.keras.metrics.AUC(name="auc")])
    shapes = (tf.TensorSpec((None, 4 * NEWEST), tf.float32), tf.TensorSpec((None,), tf.float32))
    train, test = int(0.8 * MESSAGES), MESSAGES
    data = tf.data.Dataset.from_generator(lambda: batches(graph, 100, train, 1), output_signature=shapes)
    model.fit(data, epochs=3, verbose=0)
    held_out = tf.data.Dataset.from_generator(lambda: batches(graph, train, test, 2), output_signature=shapes)
    loss, auc = model.evaluate(held_out, verbose=0)
    print(f"held out: loss {loss:.3f}, AUC {auc:.3f}")


if __name__ == "__main__":
    main()
