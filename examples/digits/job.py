"""Digits that people label as a model asks them to: doubtful ones first, agreed upon, and learned at once.

Three jobs on stream `digits`, whose events hold an image's digest and its embedding:

    tidemill submit examples/digits/job.py            # the live head: learns what digit each is, as labels are settled
    tidemill submit examples/digits/job.py:agree      # people's answers become labels
    tidemill submit examples/digits/job.py:ask        # doubtful digits become questions

`tidemill demo-perception` runs them.
"""

from streams.labelling.asking import ask_next
from streams.labelling.consensus import consensus
from streams.multiclass import of_list, online_multiclass
from tidemill.stream import Field, StreamSpec, label_stream, prediction_stream

STREAM, HEAD = "digits", "digits-head"
CLASSES = [str(digit) for digit in range(10)]
WIDTH = 256


def job():
    features, names = of_list("embedding", WIDTH)
    return online_multiclass(
        name=HEAD,
        stream=STREAM,
        features=features,
        feature_names=names,
        classes=CLASSES,
        learner={"replay": 24},
        metrics_every=20,
        version_every=100,
        rescore_every=10,
        optional=["media", "media_type", "group"],
        commit_every=0.05,
    )


def agree():
    return consensus(project=STREAM, every=50, quiet=2.0, commit_every=0.05)


def ask():
    return ask_next(
        name="digits-next",
        project=STREAM,
        endpoints=[HEAD],
        classes=CLASSES,
        strategies={"clusters": 1.0},
        budget=10,
        every=900,
        most_open=24,
        embedding="embedding",
        seed=1,
    )


def spec():
    """The declaration of the stream: an image in the artefact store, and its embedding."""
    return StreamSpec(
        name=STREAM,
        fields=(
            Field("id", "string"),
            Field("time", "time"),
            Field("media", "string", default=""),
            Field("media_type", "string", default=""),
            Field("group", "string", default=""),
            Field("embedding", "json", nullable=True),
        ),
        key="id",
        time="time",
        id="id",
        time_unit="us",
    )


def streams():
    return {STREAM: spec(), f"labels.{STREAM}": label_stream(STREAM), f"predictions.{HEAD}": prediction_stream(HEAD)}


def sample(seed):
    """Images of ten kinds whose embeddings lie in ten clouds, and labels of some, one of them corrected."""
    import numpy as np

    from tidemill.block import Block, column

    rng = np.random.default_rng(seed)
    n, start = 90, 1_600_000_000_000_000
    kinds = rng.integers(0, 10, n)
    clouds = rng.normal(size=(10, WIDTH))
    vectors = (clouds[kinds] + 0.3 * rng.normal(size=(n, WIDTH))).round(3).tolist()
    vectors[4] = None
    about = rng.permutation(n)[:60]
    ids, value = [f"d{i}" for i in range(n)], [CLASSES[kinds[i]] for i in about]
    about, value = [*about, about[0]], [*value, CLASSES[(kinds[about[0]] + 1) % 10]]

    def block(name, ids, times, **cells):
        declared = streams()[name]
        made = {f.name: column([f.default] * len(ids), np.object_) for f in declared.fields}
        made |= {name: column(values, np.object_) for name, values in cells.items()}
        made |= {"id": column(ids, np.object_), "time": times}
        zeros = np.zeros(len(ids), np.int32)
        sources = column([declared.source] * len(ids), np.object_)
        return Block(name, declared.topic, times, made["id"], sources, zeros, np.arange(len(ids)), zeros, made)

    at = start + np.arange(n) * 1_000_000
    later = start + np.arange(len(about)) * 1_500_000 + 20_000_000
    named = [ids[i] for i in about]
    return [
        block(STREAM, ids, at, embedding=vectors),
        block(f"labels.{STREAM}", [f"l{i}" for i in range(len(about))], later, about=named, value=value),
    ]
