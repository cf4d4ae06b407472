"""Retracting: later versions leave it out, and those that saw it are named."""

import msgspec
import pytest

from connectors.datasets.version import DATASET, decode_dataset, encode_dataset
from tests.tidemill_app.dataset_project import label, project
from tidemill.errors import NotFoundError
from tidemill.run_events import DatasetPublished
from tidemill.state import digest
from tidemill.version import Lineage, Manifest, Span, encode_manifest
from tidemill_app.dataset_log import DatasetLog, announce, new_id
from tidemill_app.dataset_retract import retract
from tidemill_app.datasets import Wanted, create, load

WANTED = Wanted("cells")


def model(platform, name, *spans):
    lineage = Lineage(
        job="j", bundle="", file="", order="event_time", read=list(spans), watermark=0, last=(0, "", ""), number=1
    )
    manifest = Manifest(
        model=name, version="1", kind="k", content_digest="", files={"x": digest(b"x")}, created=0, lineage=lineage
    )
    platform.artefacts.put_version(name, "1", {"x": b"x"}, encode_manifest(manifest))


def run(platform, item, label_only=False):
    return retract(platform, "cells", item, label_only=label_only, reason="asked")


def test_an_item_is_left_out_of_later_versions_and_who_saw_it_is_named(tmp_path):
    platform = project(tmp_path)
    create(platform, "d", WANTED)
    create(platform, "other", Wanted("cells", labelled=True))
    model(platform, "saw", Span("data.cells", 0, 0, 5))
    model(platform, "not", Span("data.cells", 0, 5, 30), Span("labels.cells", 0, 0, 9))
    facts = run(platform, "i4")
    assert facts["new"] and facts["datasets"] == ["d@1", "other@1"] and facts["models"] == ["saw@1"]
    assert len(load(platform, "d@1")) == 30  # what was published stays
    event, new = create(platform, "d", WANTED)
    assert new and event.examples == 29 and "i4" not in {e.id for e in load(platform, "d").examples()}
    again = run(platform, "i4")
    assert not again["new"] and again["datasets"] == ["d@1", "other@1"]
    assert len(DatasetLog(platform.log).retractions) == 1


def test_only_the_label_up_to_then_is_left_out(tmp_path):
    platform = project(tmp_path)
    create(platform, "d", WANTED)
    model(platform, "items", Span("data.cells", 0, 0, 30))
    model(platform, "labels", Span("labels.cells", 0, 2, 3))
    facts = run(platform, "i4", label_only=True)
    assert (facts["datasets"], facts["models"]) == (["d@1"], ["labels@1"])
    create(platform, "d", WANTED)
    assert {e.id: e.label for e in load(platform, "d").examples()}["i4"] is None
    assert not run(platform, "i4", label_only=True)["new"]
    label(platform, "i4", "b", time=platform.clock.now() + 1)
    create(platform, "d", WANTED)
    assert {e.id: e.label for e in load(platform, "d").examples()}["i4"] == "b"
    assert run(platform, "i4", label_only=True)["new"] is True


def test_what_is_not_there_is_said(tmp_path):
    platform = project(tmp_path)
    with pytest.raises(NotFoundError, match="no such item"):
        run(platform, "nobody")
    with pytest.raises(NotFoundError, match="no label"):
        run(platform, "i1", label_only=True)
    assert not DatasetLog(platform.log).retractions


def test_a_version_that_is_not_sound_stands_in_nobody_s_way(tmp_path):
    platform = project(tmp_path)
    bad = DatasetPublished(id=new_id(), time=1, dataset="x", version="1", digest="0" * 64, examples=0)
    announce(platform.log, lambda there: bad)
    create(platform, "d", WANTED)
    assert run(platform, "i4")["datasets"] == ["d@1"]


def test_a_version_without_examples_saw_nothing(tmp_path):
    """Such were published before they were refused."""
    platform = project(tmp_path)
    event, _ = create(platform, "d", WANTED)
    manifest = decode_dataset(platform.artefacts.get_signed(DATASET, event.digest))
    empty = encode_dataset(msgspec.structs.replace(manifest, name="none", examples=0, where=["x > 100"]))
    bad = DatasetPublished(
        id=new_id(),
        time=1,
        dataset="none",
        version="1",
        digest=platform.artefacts.put_signed(DATASET, empty),
        examples=0,
    )
    announce(platform.log, lambda there: bad)
    assert run(platform, "i4")["datasets"] == ["d@1"]
