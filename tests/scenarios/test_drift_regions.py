"""Where a model errs more is told on its metrics topic, and another job asks people about just that: in memory, and on
a real broker."""

import json

import numpy as np
import pytest

from streams import progress
from tests.tidemill_app.in_memory import memory_platform, run
from tidemill import events
from tidemill.cloudevents import headers_of
from tidemill.events import DriftDetected, LabelGiven
from tidemill.label_events import LabelAsked
from tidemill.log import Partition
from tidemill.stream import Field, StreamSpec
from tidemill_app.job_file import Target
from tidemill_app.reading import read_all
from tidemill_app.submission import submit
from tidemill_app.wiring import Platform

JOBS = """
from streams.labelling.asking import ask_next
from streams.multiclass import online_multiclass

CLASSES = ["cat", "dog", "eel"]


def head():
    return online_multiclass(name="NAME-head", stream="NAME", features=["a", "b"], classes=CLASSES, drift_by="scene")


def ask():
    return ask_next(name="NAME-next", project="NAME", endpoints=["NAME-head"], classes=CLASSES, media=None,
                    media_type=None, group="scene", region="scene", watched=["NAME-head"],
                    strategies={"drift": 1.0}, budget=6, every=61)
"""
CENTRES = np.array([[3.0, 0.0], [0.0, 3.0], [-3.0, -3.0]])
KNOWN, ALL = 480, 540
"""Items that have a label, and items in all but one."""


@pytest.fixture(params=["memory", pytest.param("broker", marks=[pytest.mark.stack, pytest.mark.slow])])
def platform(request, tmp_path):
    if request.param == "memory":
        yield memory_platform(tmp_path)
        return
    platform = Platform.open(request.getfixturevalue("stack").home.path)
    yield platform
    platform.close()


def declared(platform, name):
    number, time = (Field(n, "float") for n in "ab"), Field("time", "time")
    fields = (Field("id", "string"), time, *number, Field("scene", "string"))
    platform.catalogue().declare(StreamSpec(name=name, fields=fields, key="id", time="time", id="id"))
    platform.catalogue().declare_labels(name)


def labelled(platform, name):
    """Labels of the first items, which in scene s1 mean nothing from the middle on."""
    rng, writer = np.random.default_rng(2), platform.log.writer()
    for i in range(KNOWN):
        said = int(rng.integers(3)) if i > KNOWN // 2 and i % 3 == 1 else i % 3
        value, time = ["cat", "dog", "eel"][said], 1_767_225_600_000_000 + (i + 1) * 1_000_000
        event = LabelGiven(id=f"l{i}", time=time, source="t", about=f"p{i}", value=value)
        writer.send(f"labels.{name}", events.encode(event), key=event.about.encode(), headers=headers_of(event))
    writer.flush()


def came(platform, name, numbers):
    """Items of three scenes, each of one class."""
    rng, writer = np.random.default_rng(3), platform.log.writer()
    for i in numbers:
        a, b = (CENTRES[i % 3] + rng.normal(size=2) / 3).round(3).tolist()
        item = {"id": f"p{i}", "time": f"2026-01-01T00:{i // 60:02}:{i % 60:02}Z", "a": a, "b": b, "scene": f"s{i % 3}"}
        writer.send(f"data.{name}", json.dumps(item).encode())
    writer.flush()


def over(platform, wish, *topics):
    """Run a job until it has read all that is there."""
    ends = {topic: platform.log.end(Partition(topic, 0)) for topic in topics}
    for _ in range(60):
        run(platform, wish, rounds=2)
        made = progress.last(platform.log, wish.job)
        read = {topic: at for topic, _, at in made.offsets} if made is not None else {}
        if all(read.get(topic, 0) >= end for topic, end in ends.items()):
            return
    raise AssertionError(f"{wish.job} read {read} of {ends}")


def told(platform, topic, kind):
    found = [events.decode(record.value) for record in read_all(platform.log, topic)]
    return [event for event in found if isinstance(event, kind)]


def test_where_a_model_errs_more_is_what_people_are_asked_about(platform, fresh, tmp_path):
    """Both jobs read the labels before any item: so the head meets each label as it predicts, and the job that asks has
    counted no error of its own when it reads that errors grew."""
    name = fresh("pets")
    data, labels, metrics, predictions = (f"{t}{name}" for t in ("data.", "labels.", "metrics.", "predictions."))
    declared(platform, name)
    labelled(platform, name)
    (tmp_path / "jobs.py").write_text(JOBS.replace("NAME", name))
    head, _, _ = submit(platform, Target(tmp_path / "jobs.py", "head"), "local")
    over(platform, head, labels)
    ask, _, _ = submit(platform, Target(tmp_path / "jobs.py", "ask"), "local")
    over(platform, ask, labels)
    came(platform, name, range(ALL))
    over(platform, head, data)
    grown = [e for e in told(platform, f"{metrics}-head", DriftDetected) if e.by and e.value > 0]
    assert grown and {(e.by, e.region) for e in grown} == {("scene", "s1")}
    over(platform, ask, data, f"{predictions}-head", f"{metrics}-head")
    assert not told(platform, labels, LabelAsked)
    came(platform, name, [ALL])  # the last that the round waits for
    over(platform, head, data)
    over(platform, ask, data, f"{predictions}-head")
    asked = told(platform, labels, LabelAsked)
    assert [e.reason for e in asked] == ["drift"] * 6 and {int(e.about[1:]) % 3 for e in asked} == {1}
