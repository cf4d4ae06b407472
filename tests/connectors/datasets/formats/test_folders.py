"""Folders of images and of sounds by class."""

import pytest

from connectors.datasets.formats.folders import read
from tests.connectors.datasets.formats.samples import png
from tidemill.errors import UserError


def put(folder, *names):
    for n, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(n))
    return folder


def test_a_folder_is_a_class(tmp_path):
    found = read(put(tmp_path, "cat/1.png", "dog/1.JPEG", "dog/notes.md", ".cache/x.png"))
    assert (found.kind, found.classes) == ("single", ("cat", "dog"))
    assert [(i.id, i.label, i.split) for i in found.items] == [("cat-1", "cat", ""), ("dog-1", "dog", "")]
    assert found.passed_over == ["1 files that are no images"]


def test_splits_may_stand_above(tmp_path):
    found = read(put(tmp_path, "train/cat/1.png", "val/cat/1.png", "test/wild/dog/1.png"))
    assert [(i.id, i.label, i.split) for i in found.items] == [
        ("test-wild-dog-1", "wild/dog", "test"),
        ("train-cat-1", "cat", "train"),
        ("val-cat-1", "cat", "valid"),
    ]


def test_an_image_without_a_class_and_a_folder_without_images_are_refused(tmp_path):
    with pytest.raises(UserError, match="no images or sounds"):
        read(tmp_path)
    with pytest.raises(UserError, match="no class's folder"):
        read(put(tmp_path, "1.png"))


def test_sounds_are_told_by_their_names(tmp_path):
    found = read(put(tmp_path, "one/a.wav", "two/b.WAV", "two/notes.txt"))
    assert (found.medium, found.classes, found.fields) == ("audio", ("one", "two"), {"name": "string"})
    assert [(i.id, i.media_type, i.label) for i in found.items] == [
        ("one-a", "audio/wav", "one"),
        ("two-b", "audio/wav", "two"),
    ]
    assert found.passed_over == ["1 files that are no sounds"]
    other = read(put(tmp_path / "other", *(f"one/{i}.{end}" for i, end in enumerate(("flac", "ogg", "opus", "mp3")))))
    assert [i.media_type for i in other.items] == ["audio/flac", "audio/ogg", "audio/ogg", "audio/mpeg"]


def test_images_and_sounds_are_two_sources(tmp_path):
    with pytest.raises(UserError, match="images and sounds"):
        read(put(tmp_path, "one/a.wav", "one/b.png"))
