"""Versions are stored signed, counted once published, and never changed after that."""

import numpy as np
import pytest

from connectors.artefacts import ArtefactStore
from connectors.memory import MemoryLog
from connectors.signing import make_key
from tidemill import events
from tidemill.errors import IncompatibleError
from tidemill.events import ModelPublished
from tidemill.job import ModelContent, VersionCut
from tidemill.log import TopicSpec
from tidemill.time import SystemClock
from tidemill.version import Lineage, decode_manifest
from tidemill_app.publisher import ArtefactPublisher, load_content


@pytest.fixture
def store(tmp_path):
    make_key(tmp_path / "key.pem")
    return ArtefactStore(str(tmp_path / "artefacts"), tmp_path / "key.pem")


@pytest.fixture
def log():
    made = MemoryLog()
    made.create("models", TopicSpec())
    return made


def cut(number, weight=1.0, model="m"):
    return VersionCut(model, number, (0, "", ""), ModelContent("k", {}, {"w": np.full(3, weight)}), {"auc": 0.5})


def lineage(number, after=0, job="j"):
    return Lineage(
        job=job,
        bundle="b",
        file="f",
        order="event_time",
        read=[],
        watermark=0,
        last=(0, "", ""),
        number=number,
        after=after,
    )


def tell(log, number, fields, job="j", model="m"):
    event = ModelPublished(id=f"{model}@{number}", time=0, model=model, version=str(number), job=job, **fields)
    log.writer().send("models", events.encode(event))


def test_what_was_stored_and_never_published_stands_in_nobodys_way(store, log):
    publisher = ArtefactPublisher(store, log, SystemClock())
    lost = publisher.publish(cut(1), lineage(1), 0)
    counts = publisher.publish(cut(1, 2.0), lineage(1), 0)
    assert lost["version_digest"] != counts["version_digest"]
    tell(log, 1, counts)
    manifest, files = store.load("m", "1", counts["version_digest"])
    assert manifest.content_digest == counts["content_digest"]
    assert list(files) == ["content.safetensors"]
    assert load_content(files).state["w"][0] == 2.0
    with pytest.raises(IncompatibleError, match=r"content\.safetensors.*model\.onnx"):
        load_content({"model.onnx": b""})


def test_a_published_version_never_changes(store, log):
    publisher = ArtefactPublisher(store, log, SystemClock())
    tell(log, 1, publisher.publish(cut(1), lineage(1), 0), job="first")
    with pytest.raises(IncompatibleError, match=r"m@1.*job first published"):
        publisher.publish(cut(1, 2.0), lineage(1, job="second"), 0)


def test_the_same_once_more_is_the_version_that_is_published(store, log):
    """As an engine does that cannot know whether its last commit came through."""
    publisher = ArtefactPublisher(store, log, SystemClock())
    first = publisher.publish(cut(1), lineage(1), 0)
    tell(log, 1, first)
    assert publisher.publish(cut(1), lineage(1), 0) == first
    with pytest.raises(IncompatibleError, match="never changes"):
        publisher.publish(cut(1, 2.0), lineage(1), 0)


def test_the_newest_number_is_the_jobs_and_the_models_stored_or_published(store, log):
    publisher = ArtefactPublisher(store, log, SystemClock())
    assert publisher.newest("j", ["m"]) == 0
    tell(log, 4, publisher.publish(cut(4), lineage(4), 0))
    assert publisher.newest("j", []) == publisher.newest("other", ["m"]) == 4
    assert publisher.newest("other", ["n"]) == 0
    publisher.publish(cut(5), lineage(5), 0)
    assert publisher.newest("j", ["m"]) == 5


def test_the_first_version_of_a_life_has_no_parent(store, log):
    publisher = ArtefactPublisher(store, log, SystemClock())
    for number, parents in ((4, []), (5, ["4"])):
        fields = publisher.publish(cut(number), lineage(number, after=3), 0)
        assert decode_manifest(store.manifest("m", str(number), fields["version_digest"])).parents == parents
