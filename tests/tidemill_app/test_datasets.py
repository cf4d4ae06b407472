"""Versions of data sets: the same of the same log, whoever reads it, and verified when read again."""

import msgspec
import pytest

from connectors.datasets.version import DATASET, decode_dataset
from connectors.segments import Segments
from tests.tidemill_app.dataset_project import label, project
from tidemill.block import Place
from tidemill.errors import ConfigError, DigestError, GoneError, NotFoundError, SignatureError
from tidemill.events import LabelGiven
from tidemill.label_events import LabelClass, LabelSchema, ProjectChanged
from tidemill.log import Partition
from tidemill.version import Span
from tidemill_app import datasets
from tidemill_app.dataset_log import DatasetLog
from tidemill_app.datasets import Wanted, create, load
from tidemill_app.erasing import erase
from tidemill_app.telling import tell
from training.augmentation import augmentation

WANTED = Wanted("cells")


def test_a_version_names_what_the_log_holds_now(tmp_path):
    platform = project(tmp_path)
    event, new = create(platform, "d", WANTED)
    assert new and (event.version, event.examples) == ("1", 30)
    version = load(platform, "d")
    assert [e.id for e in version.examples()] == [f"i{n}" for n in range(30)]
    assert {e.id: e.label for e in version.examples()}["i2"] == "b"
    assert version.manifest.counts["@unlabelled"] == 15
    assert version.manifest.data == [Span("data.cells", 0, 0, 30)]
    assert version.manifest.labels == [Span("labels.cells", 0, 0, 15)]
    assert {s: len(version.examples(s)) for s in ("train", "valid", "test")} == {
        s: version.manifest.counts[s] for s in ("train", "valid", "test")
    }


def test_a_version_stays_as_it_was_whatever_comes_after(tmp_path):
    platform = project(tmp_path)
    create(platform, "d", WANTED)
    before = load(platform, "d@1").examples()
    label(platform, "i0", "b")
    label(platform, "i1", "a")
    schema = LabelSchema(kind="single", medium="row", classes=(LabelClass("b", "B", into="a"), LabelClass("a", "A")))
    tell(platform.log, "labels.cells", ProjectChanged(id="p", time=9, project="cells", schema=schema), "cells")
    assert load(platform, "d@1").examples() == before
    event, new = create(platform, "d", WANTED)
    assert new and event.version == "2" and event.parent == "1"
    after = {e.id: e.label for e in load(platform, "d@2").examples()}
    assert (after["i0"], after["i1"], after["i2"]) == ("a", "a", "a")
    assert load(platform, "d@2").manifest.parent == load(platform, "d@1").digest


def test_the_same_again_is_the_same_version(tmp_path):
    platform = project(tmp_path)
    first, _ = create(platform, "d", WANTED)
    again, new = create(platform, "d", WANTED)
    assert not new and again.version == "1" and again.digest == first.digest
    assert len(DatasetLog(platform.log).versions) == 1
    assert create(platform, "d", Wanted("cells", salt="x"))[0].version == "2"
    other, new = create(platform, "d", WANTED)
    assert new and other.version == "3"


@pytest.mark.parametrize("partitions", [1, 2, 4])
def test_any_number_of_readers_gives_the_same_bytes(tmp_path, monkeypatch, partitions):
    platform = project(tmp_path, n=300, partitions=partitions)
    monkeypatch.setattr(datasets, "LEAST", 10)
    digests = {create(platform, f"d{n}", WANTED, workers=n)[0].digest for n in (1, 2, 4)}
    manifests = [decode_dataset(platform.artefacts.get_signed(DATASET, d)) for d in sorted(digests)]
    same = {datasets.encode_dataset(msgspec.structs.replace(m, name="")) for m in manifests}
    assert len(same) == 1
    for n in (1, 2, 4):
        assert load(platform, "d2", workers=n).examples() == load(platform, "d1").examples()


def test_the_examples_digest_does_not_know_of_partitions_nor_of_the_machine(tmp_path):
    found = set()
    for n in (1, 2, 4):
        platform = project(tmp_path / str(n), n=60, partitions=n)
        create(platform, "d", WANTED)
        found.add(load(platform, "d").manifest.examples_digest)
    assert len(found) == 1
    one, other = (project(tmp_path / f"m{n}") for n in (1, 2))
    assert create(one, "d", WANTED)[0].digest == create(other, "d", WANTED)[0].digest


def test_a_log_that_holds_other_records_is_refused(tmp_path):
    platform = project(tmp_path / "one")
    create(platform, "d", WANTED)
    changed = platform.log._kept[Partition("data.cells", 0)].records
    changed[3] = (changed[3][0]._replace(value=changed[3][0].value.replace(b"1.5", b"1.6")), None)
    with pytest.raises(DigestError, match="does not hold"):
        load(platform, "d")
    platform.log.delete_before(Partition("data.cells", 0), 5)
    with pytest.raises(GoneError, match="no archive"):
        load(platform, "d")


def test_a_manifest_that_no_trusted_key_signed_is_refused(tmp_path):
    platform = project(tmp_path / "one")
    event, _ = create(platform, "d", WANTED)
    for path in (tmp_path / "one").rglob(f"signatures/{event.digest}/*.sig"):
        path.unlink()
    with pytest.raises(SignatureError):
        load(platform, "d")
    (row,) = datasets.versions(platform)
    assert row["dataset"] == "d" and "not signed" in row["refused"]


def test_what_kafka_forgets_is_read_from_the_archive(tmp_path, monkeypatch):
    platform = project(tmp_path)
    monkeypatch.setattr(type(platform), "forgets", lambda self, topic: True)
    create(platform, "d", WANTED)
    before = load(platform, "d").examples()
    for topic in ("data.cells", "labels.cells"):
        platform.log.delete_before(Partition(topic, 0), 7)
    assert load(platform, "d").examples() == before
    label(platform, "i1", "b")
    second, _ = create(platform, "d", WANTED)
    assert second.examples == 30  # what is archived is not lost to later versions
    assert load(platform, "d").examples()[1].label == "b"
    platform.log.delete("data.cells")
    assert load(platform, "d@1").examples() == before
    archive = Segments(platform.connection.artefacts, platform.artefacts)
    for segment in archive.segments("data.cells", 0):
        platform.artefacts.discard(segment.digest)
    with pytest.raises(NotFoundError):
        load(platform, "d@1")


def test_what_was_erased_is_absent_and_the_version_says_so(tmp_path):
    platform = project(tmp_path)
    create(platform, "d", WANTED)
    erase(platform.log, [Place("data.cells", 0, 4)], reason="asked", clock=platform.clock)
    version = load(platform, "d")
    assert version.erased == 1 and "i4" not in {e.id for e in version.examples()}
    event, _ = create(platform, "d", WANTED)
    assert (event.examples, load(platform, "d").erased) == (29, 0)


def test_settings_that_cannot_be_are_refused(tmp_path):
    platform = project(tmp_path)
    for wrong in (
        Wanted("cells", by="nothing"),
        Wanted("cells", fixed="nothing"),
        Wanted("cells", where=["nothing = 1"]),
        Wanted("cells", splits={"train": 0.5}),
    ):
        with pytest.raises(ConfigError):
            create(platform, "d", wrong)
    with pytest.raises(NotFoundError, match="no stream"):
        create(platform, "d", Wanted("nobody"))
    assert DatasetLog(platform.log).versions == []


def test_a_version_without_an_example_is_refused(tmp_path):
    platform = project(tmp_path)
    for wrong in (Wanted("cells", where=["x > 100"]), Wanted("cells", where=["@label = c"])):
        with pytest.raises(ConfigError, match="no example is left"):
            create(platform, "d", wrong)
    assert DatasetLog(platform.log).versions == []


def test_a_filter_that_cannot_mean_anything_is_refused(tmp_path):
    platform = project(tmp_path)
    schema = LabelSchema(kind="single", medium="row", classes=(LabelClass("a", "A"), LabelClass("b", "B")))
    tell(platform.log, "labels.cells", ProjectChanged(id="p", time=9, project="cells", schema=schema), "cells")
    for wrong, says in (("@label != c", "no class"), ("x >= 1 y", "x is a number"), ("@label > a", "no order")):
        with pytest.raises(ConfigError, match=says):
            create(platform, "d", Wanted("cells", where=[wrong]))
    assert DatasetLog(platform.log).versions == []
    assert create(platform, "d", Wanted("cells", where=["@label = a"]))[0].examples == 8


def test_a_name_stays_with_its_project(tmp_path):
    platform = project(tmp_path)
    create(platform, "d", WANTED)
    catalogue = platform.catalogue()
    catalogue.declare(msgspec.structs.replace(catalogue.get("cells"), name="pets", topic="", version=1))
    with pytest.raises(ConfigError, match=r"one project.*cells.*pets"):
        create(platform, "d", Wanted("pets"))
    assert len(DatasetLog(platform.log).versions) == 1


def test_filters_augmentation_and_groups_are_of_the_version(tmp_path):
    platform = project(tmp_path)
    transforms = [{"name": "RandomHorizontalFlip", "args": {"p": 0.5}}]
    wanted = Wanted("cells", where=["x >= 5"], labelled=True, augmentation=transforms, by="x")
    create(platform, "d", wanted)
    version = load(platform, "d")
    assert [e.id for e in version.examples()] == [f"i{n}" for n in range(10, 30, 2)]
    assert version.manifest.augmentation == transforms and version.manifest.augmentation_digest
    assert version.manifest.augmentation_digest == augmentation(("RandomHorizontalFlip", {"p": 0.5})).digest
    with pytest.raises(ConfigError, match="no such transform"):
        create(platform, "e", Wanted("cells", augmentation=[{"name": "flip"}]))
    assert version.examples()[0].group == "5.0"
    (row,) = datasets.versions(platform, "d")
    assert (row["examples"], sum(row["splits"].values())) == (10, 10)


def test_stray_records_are_counted_and_passed_over(tmp_path):
    platform = project(tmp_path)
    platform.log.writer().send("data.cells", b"nonsense")
    platform.log.writer().send("labels.cells", b'{"type":"label.given.v1","about":1}')
    tell(platform.log, "labels.cells", LabelGiven(id="n", time=1, about="nobody", value="a"), "nobody")
    create(platform, "d", WANTED)
    assert load(platform, "d").manifest.counts["@bad"] == 1
