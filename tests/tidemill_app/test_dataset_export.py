"""A version as files: whole or not at all, the same each time."""

import pytest

from tests.connectors.datasets.formats.samples import tree
from tests.tidemill_app.dataset_project import class_folders, project
from tests.tidemill_app.in_memory import memory_platform
from tidemill.errors import ConfigError, UserError
from tidemill_app.dataset_export import FORMATS, export
from tidemill_app.dataset_import import import_
from tidemill_app.datasets import Wanted, create, load


@pytest.fixture
def version(tmp_path):
    platform = memory_platform(tmp_path)
    import_(platform, "pets", class_folders(tmp_path / "in"))
    create(platform, "pets", Wanted("pets"))
    return load(platform, "pets")


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_version_gives_the_same_files(version, tmp_path, format):
    for name in ("one", "deep/er/two"):
        assert export(version, format, tmp_path / name) == 12
    assert tree(tmp_path / "one") == tree(tmp_path / "deep/er/two") != {}


def test_a_folder_that_holds_something_is_not_written_into(version, tmp_path):
    (tmp_path / "empty").mkdir()
    export(version, "coco", tmp_path / "empty")
    with pytest.raises(ConfigError, match="holds something"):
        export(version, "voc", tmp_path / "empty")
    with pytest.raises(ConfigError, match="no such format"):
        export(version, "csv", tmp_path / "x")


def test_an_export_that_fails_leaves_nothing(tmp_path):
    platform = project(tmp_path)
    create(platform, "d", Wanted("cells"))
    (tmp_path / "to").mkdir()
    for format in ("voc", "coco"):
        with pytest.raises(UserError, match="no file"):
            export(load(platform, "d"), format, tmp_path / "to" / "x")
    assert list((tmp_path / "to").iterdir()) == []
