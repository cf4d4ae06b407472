"""What is told of a version: statistics, duplicates, leakage, violations."""

import pytest

from connectors.datasets.version import DatasetVersion
from tests.tidemill_app.dataset_project import class_folders, label
from tests.tidemill_app.in_memory import memory_platform
from tidemill.errors import UserError
from tidemill_app import dataset_report
from tidemill_app.dataset_import import import_
from tidemill_app.dataset_report import report, text
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
