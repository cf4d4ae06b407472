"""What is told of a version: statistics, duplicates, leakage, violations."""

import json
import os
from pathlib import Path

import pytest

from connectors.datasets.version import DatasetVersion
from tests.tidemill_app.dataset_project import class_folders, label
from tests.tidemill_app.in_memory import memory_platform
from tidemill.errors import UserError
from tidemill.stream import Field, StreamSpec
from tidemill_app import dataset_report
from tidemill_app.dataset_import import import_
from tidemill_app.dataset_report import report, text, unheard_line
from tidemill_app.datasets import Wanted, create, load


@pytest.fixture
def platform(tmp_path):
    platform = memory_platform(tmp_path)
    import_(platform, "pets", class_folders(tmp_path / "in", splits=True))
    return platform


def made(platform) -> DatasetVersion:
    create(platform, "pets", Wanted("pets", fixed="split"))
    return load(platform, "pets")


def test_a_copy_in_another_split_leaks(platform):
    found = report(platform, made(platform))
    assert found["statistics"]["classes"]["cat"] == {"test": 4}
    same = ["test-cat-000", "train-hen-011"]
    assert found["duplicates"] == {"count": 1, "first": [same]}
    assert found["near"]["first"] == [same]
    assert found["leakage"] == {
        "same": {"count": 1, "first": [same]},
        "near": {"count": 1, "first": [same]},
        "groups": {"count": 0, "first": []},
    }
    assert found["violations"]["count"] == 0
    assert "leakage between splits: 1 of the same bytes" in text(found)


def test_how_images_look_is_worked_out_once(platform, monkeypatch):
    first = report(platform, made(platform))

    def never(*_):
        raise UserError("again")

    monkeypatch.setattr(dataset_report, "grey", never)
    monkeypatch.setattr(dataset_report, "near_groups", never)
    assert report(platform, made(platform)) == first
    for kept in (platform.home.path / "datasets").iterdir():
        kept.write_bytes(b"[[99999]]\n")
    with pytest.raises(UserError, match="again"):
        report(platform, made(platform))


def test_what_breaks_the_schema_or_cannot_be_decoded_is_told(platform):
    label(platform, "test-cat-000", "cow", "pets")
    version = made(platform)
    lost = next(e for e in version.examples() if e.id == "test-cat-003")
    platform.artefacts.discard(lost.media)
    found = report(platform, version)
    assert [v["id"] for v in found["violations"]["first"]] == ["test-cat-000", "test-cat-003"]
    assert "'cow' is no class in use" in text(found)


def test_sounds_of_a_type_that_nothing_decodes_are_named():
    assert unheard_line(["a", "b"]) == (
        "2 sounds are no WAV, FLAC, Ogg or MP3, as training and serving take: a, b. Convert them"
    )
    assert unheard_line([str(i) for i in range(1_200)]).startswith("1,200 sounds")


SMS = Path(os.environ.get("TIDEMILL_DATA", "../shared/data")) / "sms_spam" / "SMSSpamCollection"


def texts(tmp_path, rows):
    """A project of texts, with the split that each row says."""
    platform = memory_platform(tmp_path)
    kinds = {"id": "string", "time": "time", "text": "string", "split": "string"}
    spec = StreamSpec(name="sms", fields=tuple(Field(*f) for f in kinds.items()), key="id", time="time", id="id")
    platform.catalogue().declare(spec)
    platform.catalogue().declare_labels("sms")
    writer = platform.log.writer()
    for i, (said, split) in enumerate(rows):
        item = {"id": f"m{i:04}", "time": "2026-01-01T00:00:00Z", "text": said, "split": split}
        writer.send(spec.topic, json.dumps(item).encode())
    writer.flush()
    create(platform, "sms", Wanted("sms", fixed="split", splits={"train": 0.8, "test": 0.2}))
    return platform, load(platform, "sms")


def test_a_text_with_another_number_in_another_split_leaks(tmp_path):
    prize = "You have won a prize! To claim it call {} now, before the end of this week. Cost 150p a minute"
    rows = [
        (prize.format("09061701461"), "train"),
        ("I will be home soon", "train"),
        (prize.format("0871-277"), "test"),
    ]
    rows += [("I will be home late", "test"), ("I WILL be home soon.", "train")]
    found = report(*texts(tmp_path, rows))
    assert found["duplicates"]["count"] == 0
    assert found["near"]["first"] == [["m0000", "m0002"], ["m0001", "m0004"]]
    assert found["leakage"]["near"]["first"] == [["m0000", "m0002"]]
    assert "0 of the same bytes, 1 that are alike" in text(found)


@pytest.mark.skipif(not SMS.exists(), reason="the data folder is not here")
def test_spam_that_leaks_between_splits_is_found(tmp_path):
    lines = SMS.read_text(encoding="utf-8").splitlines()[1:]
    rows = [(line.partition("\t")[2], "train" if i % 5 else "test") for i, line in enumerate(lines)]
    found = report(*texts(tmp_path, rows))
    leakage = found["leakage"]
    assert (found["duplicates"]["count"], leakage["same"]["count"]) == (281, 106)
    assert (found["near"]["count"], leakage["near"]["count"]) == (358, 150)
