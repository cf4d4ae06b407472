"""Imports: whole, once, and going on where they were killed; and what is exported comes back."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from connectors import images
from connectors.datasets.formats.item import Incoming, RawItem
from connectors.kafka import KafkaLog
from tests.connectors.datasets.formats.samples import tree
from tests.house.test_layout import ROOT
from tests.tidemill_app.dataset_project import class_folders, label, png, project
from tests.tidemill_app.in_memory import memory_platform
from tidemill import events
from tidemill.errors import ConfigError, UserError
from tidemill.events import LabelAsked, LabelGiven
from tidemill.stream import Field, StreamSpec
from tidemill_app import dataset_import
from tidemill_app.dataset_export import FORMATS, export
from tidemill_app.dataset_import import guess, import_
from tidemill_app.datasets import Wanted, create, load
from tidemill_app.reading import read_all

DATA = Path(os.environ.get("TIDEMILL_DATA", "../shared/data"))


def made(platform, name):
    create(platform, name, Wanted(name, fixed="split"))
    return load(platform, name)


def ids(log, name):
    """How often each item and each label stands in the log."""
    items = Counter(dict(r.headers)["ce_id"].decode() for r in read_all(log, f"data.{name}"))
    given = [events.decode(r.value) for r in read_all(log, f"labels.{name}")]
    return items, Counter(e.about for e in given if isinstance(e, LabelGiven))


def test_folders_become_items_with_bytes_and_labels(tmp_path):
    platform = memory_platform(tmp_path)
    done = import_(platform, "pets", class_folders(tmp_path / "in"))
    assert (done.format, done.items, done.labels, done.there) == ("folders", 12, 12, 0)
    version = made(platform, "pets")
    (first, *_) = version.examples()
    assert (first.id, first.label, first.media_type) == ("cat-000", "cat", "image/png")
    assert version.bytes_of(first) == png(0) and (first.payload["width"], first.payload["name"]) == (24, "000.png")
    assert version.manifest.schema.kind == "single"
    assert [c.id for c in version.manifest.schema.classes] == ["cat", "dog", "hen"]


def test_images_that_models_do_not_decode_are_kept_as_pngs_and_known_again(tmp_path):
    platform = memory_platform(tmp_path)
    (tmp_path / "in" / "cat").mkdir(parents=True)
    Image.open(BytesIO(png(3))).save(tmp_path / "in" / "cat" / "a.webp", lossless=True)
    assert import_(platform, "pets", tmp_path / "in").items == 1
    assert import_(platform, "pets", tmp_path / "in").there == 1
    version = made(platform, "pets")
    (only,) = version.examples()
    assert only.media_type == "image/png"
    assert (images.pixels(version.bytes_of(only)) == images.pixels(png(3))).all()


def test_an_image_that_was_kept_as_it_came_is_known_again(tmp_path, monkeypatch):
    platform, folder = memory_platform(tmp_path), tmp_path / "in"
    (folder / "cat").mkdir(parents=True)
    for number in (3, 4):
        Image.open(BytesIO(png(number))).save(folder / "cat" / f"{number}.webp", lossless=True)
    with monkeypatch.context() as before:
        before.setattr(RawItem, "kept", lambda item: item)
        assert import_(platform, "pets", folder).items == 2
    assert import_(platform, "pets", folder).there == 2
    Image.open(BytesIO(png(5))).save(folder / "cat" / "4.webp", lossless=True)
    with pytest.raises(UserError, match=r"other bytes.*cat[-/]4"):
        import_(platform, "pets", folder)


def test_no_more_is_held_of_a_batch_than_its_bytes_as_they_are_kept(monkeypatch):
    small = RawItem("a", b"RIFF")
    monkeypatch.setattr(RawItem, "kept", lambda item: replace(item, data=b"x" * (40 << 20)))
    assert [len(batch) for batch in dataset_import._batches(iter([small] * 5), 4_000)] == [2, 2, 1]


def test_people_are_asked_about_what_has_no_label(tmp_path):
    platform = memory_platform(tmp_path)
    pets = class_folders(tmp_path / "in")
    assert import_(platform, "pets", pets, ask=True).asked == 0
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "tasks.json").write_text('[{"id": 1, "data": {"text": "a"}}, {"id": 2, "data": {"text": "b"}}]')
    config = (
        '<View><Text name="text" value="$text"/><Choices name="c" toName="text"><Choice value="x"/></Choices></View>'
    )
    (tmp_path / "new" / "config.xml").write_text(config)
    done = import_(platform, "notes", tmp_path / "new", ask=True)
    assert (done.items, done.labels, done.asked) == (2, 0, 2)
    asked = [e for e in map(events.decode, values(platform, "labels.notes")) if isinstance(e, LabelAsked)]
    assert [(e.payload, e.reason) for e in asked] == [({"text": "a"}, "import"), ({"text": "b"}, "import")]
    assert import_(platform, "notes", tmp_path / "new", ask=True).asked == 0


def values(platform, topic):
    return [record.value for record in read_all(platform.log, topic)]


def test_a_second_time_nothing_is_sent_twice(tmp_path):
    platform = memory_platform(tmp_path)
    source = class_folders(tmp_path / "in")
    import_(platform, "pets", source)
    again = import_(platform, "pets", source)
    assert (again.items, again.labels, again.there) == (0, 0, 12)
    label(platform, "cat-000", "dog", "pets")
    import_(platform, "pets", source)
    assert made(platform, "pets").examples()[0].label == "dog"  # what people said since stands


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("fails", range(1, 9))
def test_an_import_that_breaks_off_anywhere_goes_on_without_doubles(tmp_path, monkeypatch, fails):
    platform = memory_platform(tmp_path)
    source, calls = class_folders(tmp_path / "in"), []

    def breaks(of, name):
        real = getattr(of, name)

        def call(*args, **kwargs):
            calls.append(name)
            if len(calls) == fails:
                raise Killed
            return real(*args, **kwargs)

        monkeypatch.setattr(of, name, call)

    breaks(type(platform.log.writer("x")), "commit")
    breaks(type(platform.artefacts), "put_all")
    with pytest.raises(Killed):
        import_(platform, "pets", source, batch=3)
    import_(platform, "pets", source, batch=3)
    items, labels = ids(platform.log, "pets")
    assert len(items) == 12 and set(items.values()) == set(labels.values()) == {1} and items.keys() == labels.keys()


def test_an_import_beside_another_is_fenced_off(tmp_path, monkeypatch):
    platform = memory_platform(tmp_path)
    source = class_folders(tmp_path / "in")
    store, inner = type(platform.artefacts), []
    real = store.put_all

    def put_all(self, contents):
        if not inner:
            inner.append(1)
            import_(platform, "pets", source)
        return real(self, contents)

    monkeypatch.setattr(store, "put_all", put_all)
    with pytest.raises(Exception, match="newer writer"):
        import_(platform, "pets", source)
    items, labels = ids(platform.log, "pets")
    assert set(items.values()) == set(labels.values()) == {1} and len(items) == 12


def test_what_cannot_go_into_the_project_is_refused(tmp_path, monkeypatch):
    platform = memory_platform(tmp_path)
    import_(platform, "pets", class_folders(tmp_path / "in"))
    (tmp_path / "in" / "cat" / "000.png").write_bytes(png(77))
    with pytest.raises(UserError, match="other bytes"):
        import_(platform, "pets", tmp_path / "in")
    assert import_(platform, "pets", tmp_path / "in", prefix="second-").items == 12
    (tmp_path / "cow").mkdir()
    shutil.copytree(tmp_path / "in" / "cat", tmp_path / "cow" / "cow")
    with pytest.raises(UserError, match="no such classes"):
        import_(platform, "pets", tmp_path / "cow")
    boxes = Incoming("boxes", "image", ("cat",), iter(()))
    monkeypatch.setitem(dataset_import.READERS, "voc", lambda folder: boxes)
    with pytest.raises(UserError, match="another kind"):
        import_(platform, "pets", tmp_path / "in", "voc")
    twice = Incoming("single", "row", (), iter([RawItem("a"), RawItem("a")]))
    monkeypatch.setitem(dataset_import.READERS, "voc", lambda folder: twice)
    with pytest.raises(UserError, match="one id"):
        import_(platform, "rows", tmp_path / "in", "voc")
    assert not ids(platform.log, "rows")[0]


@pytest.mark.parametrize("data", [b"", b"<svg onload=alert(1)/>", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_a_hostile_image_is_refused_and_nothing_of_its_batch_is_sent(tmp_path, data):
    platform = memory_platform(tmp_path)
    source = class_folders(tmp_path / "in")
    (source / "hen" / "bad.png").write_bytes(data)
    with pytest.raises(UserError, match=r"hen-bad"):
        import_(platform, "pets", source)
    assert not ids(platform.log, "pets")[0]


@pytest.mark.parametrize("name", ["ca\x1b[31mt", "be\x07ll", "\u202egod", "x" * 101])
def test_a_class_or_an_item_whose_name_a_terminal_would_act_on_is_refused(tmp_path, monkeypatch, name):
    platform = memory_platform(tmp_path)
    (tmp_path / "in" / name).mkdir(parents=True)
    (tmp_path / "in" / name / "1.png").write_bytes(png(1))
    with pytest.raises(UserError, match="not a usable name of a class") as error:
        import_(platform, "pets", tmp_path / "in")
    assert str(error.value).isprintable()
    if len(name) < 100:
        rows = Incoming("single", "row", (), iter([RawItem(name)]))
        monkeypatch.setitem(dataset_import.READERS, "voc", lambda folder: rows)
        with pytest.raises(UserError, match="not a usable id"):
            import_(platform, "rows", tmp_path / "in", "voc")


def test_an_error_names_the_archive_and_not_where_it_was_unpacked(tmp_path):
    platform = memory_platform(tmp_path)
    (tmp_path / "in").mkdir()
    for name, content in (("a.txt", b"x"), ("1.png", png(1)), ("cat/2.png", b"no image")):
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        archive = shutil.make_archive(str(tmp_path / "pets"), "zip", tmp_path / "in")
        with pytest.raises(UserError) as error:
            import_(platform, "pets", Path(archive))
        assert "tidemill-import-" not in str(error.value)
        if name != "cat/2.png":
            assert archive in str(error.value)
        path.unlink()


@pytest.mark.parametrize("fields", [{"n": 2**70}, {"n": "text"}, {"n": None, "id": "x"}, {"n": 1.5}])
def test_a_row_that_no_reader_could_use_is_refused(tmp_path, monkeypatch, fields):
    platform = memory_platform(tmp_path)
    (tmp_path / "in").mkdir()
    items = iter([RawItem("good", fields={"n": 1}), RawItem("a", fields=fields)])
    rows = Incoming("single", "row", (), items, {"n": "int"})
    monkeypatch.setitem(dataset_import.READERS, "voc", lambda folder: rows)
    if fields["n"] is None:
        assert import_(platform, "rows", tmp_path / "in", "voc").items == 2
        return
    with pytest.raises(UserError, match="a: an item does not fit"):
        import_(platform, "rows", tmp_path / "in", "voc")
    assert not ids(platform.log, "rows")[0]


def test_a_stream_of_ones_own_takes_what_it_declares(tmp_path):
    platform = memory_platform(tmp_path)
    fields = [Field("key", "string"), Field("at", "time"), Field("media", "string"), Field("media_type", "string")]
    platform.catalogue().declare(StreamSpec(name="pets", fields=tuple(fields), time="at", id="key", partitions=2))
    done = import_(platform, "pets", class_folders(tmp_path / "in", splits=True))
    assert done.left_out == ["fields that the stream does not have: height, name, split, width"]
    create(platform, "pets", Wanted("pets"))
    version = load(platform, "pets")
    assert len(version) == 12 and set(version.examples()[0].payload) == {"key", "at", "media", "media_type"}
    bare = StreamSpec(name="bare", fields=(Field("key", "string"), Field("at", "time")), time="at", id="key")
    platform.catalogue().declare(bare)
    with pytest.raises(ConfigError, match="no field for media"):
        import_(platform, "bare", tmp_path / "in")


def test_formats_are_guessed_by_what_is_in_a_folder(tmp_path):
    platform = memory_platform(tmp_path)
    source = class_folders(tmp_path / "in", splits=True)
    import_(platform, "pets", source)
    version = made(platform, "pets")
    for format in FORMATS:
        export(version, format, tmp_path / format)
        assert guess(tmp_path / format) == format
    assert guess(source) == "folders"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no format"):
        guess(tmp_path / "empty")


@pytest.mark.parametrize("format", FORMATS)
def test_classes_come_back_as_they_were_exported(tmp_path, format):
    platform = memory_platform(tmp_path)
    import_(platform, "pets", class_folders(tmp_path / "in", splits=True))
    first = made(platform, "pets")
    export(first, format, tmp_path / "one")
    import_(platform, "again", tmp_path / "one")
    second = made(platform, "again")
    export(second, format, tmp_path / "two")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    facts = [{(e.id, e.label, e.split, e.media) for e in v.examples()} for v in (first, second)]
    assert facts[0] == facts[1] and len(facts[0]) == 12


@pytest.mark.parametrize("format", ["parquet", "labelstudio"])
def test_rows_without_bytes_come_back(tmp_path, format):
    platform = project(tmp_path)
    create(platform, "cells", Wanted("cells"))
    first = load(platform, "cells")
    export(first, format, tmp_path / "one")
    import_(platform, "again", tmp_path / "one")
    second = made(platform, "again")
    facts = [
        sorted((e.id, str(e.label), e.split, e.group, e.payload["x"]) for e in v.examples()) for v in (first, second)
    ]
    assert facts[0] == facts[1] and len(facts[0]) == 30
    export(second, format, tmp_path / "two")
    import_(platform, "third", tmp_path / "two")
    export(made(platform, "third"), format, tmp_path / "three")
    assert tree(tmp_path / "two") == tree(tmp_path / "three")


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """The blood cells, imported."""
    source = DATA / "bccd" / "bccd_voc.tar.gz"
    if not source.is_file():
        pytest.skip(f"no {source}")
    platform = memory_platform(tmp_path_factory.mktemp("cells"))
    done = import_(platform, "bccd", source)
    version = made(platform, "bccd")
    assert (done.items, sum(len(e.label) for e in version.examples())) == (364, 4888)
    assert {s: len(version.examples(s)) for s in ("train", "valid", "test")} == {"train": 205, "valid": 87, "test": 72}
    return platform, version


@pytest.mark.parametrize("format", FORMATS)
def test_blood_cells_come_back_as_they_were_exported(cells, tmp_path, format):
    platform, first = cells
    export(first, format, tmp_path / "one")
    import_(platform, f"again-{format}", tmp_path / "one")
    export(made(platform, f"again-{format}"), format, tmp_path / "two")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


KILLED = """
import sys
from pathlib import Path
from tidemill_app.dataset_import import import_
from tidemill_app.wiring import Platform

platform = Platform.open(sys.argv[1])
import_(platform, sys.argv[2], Path(sys.argv[3]), batch=5, progress=lambda items: print(items, flush=True))
"""


@pytest.mark.slow
@pytest.mark.stack
def test_an_import_that_is_killed_again_and_again_ends_whole(stack, tmp_path, fresh):
    name, source = fresh("pets"), class_folders(tmp_path / "in", 120)
    words = [sys.executable, "-c", KILLED, str(stack.home.path), name, str(source)]
    kills, deadline = 0, time.monotonic() + 240
    while True:
        assert time.monotonic() < deadline
        with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(2):
                process.stdout.readline()
            if process.poll() is None and kills < 5:
                process.send_signal(signal.SIGKILL)
                kills += 1
            process.stdout.read()
        if process.returncode == 0:
            break
    log = KafkaLog({"bootstrap.servers": str(stack.bootstrap)})
    items, labels = ids(log, name)
    log.close()
    assert kills == 5 and len(items) == 120
    assert set(items.values()) == set(labels.values()) == {1} and items.keys() == labels.keys()
