"""`tidemill dataset`, as people call it."""

import json

import pytest

from tests.tidemill_app.dataset_project import class_folders
from tests.tidemill_app.test_dataset_answers import source

pytestmark = pytest.mark.stack


def test_from_folders_to_a_page_and_back(tidemill, tmp_path, fresh):
    name = fresh("pets")
    source = class_folders(tmp_path / "in", splits=True)
    assert tidemill("dataset", "import", name, source, "--partitions", 2, "--json").json["items"] == 12
    assert "12 items were there" in tidemill("dataset", "import", name, source).out
    (tmp_path / "augment.json").write_text('[{"name": "RandomHorizontalFlip"}]')
    words = (
        "dataset",
        "create",
        name,
        "--project",
        name,
        "--split-field",
        "split",
        "--augment",
        tmp_path / "augment.json",
    )
    made = tidemill(*words, "--json").json
    assert (made["version"], made["examples"], made["new"]) == ("1", 12, True)
    assert "is there already" in tidemill(*words).out
    assert f"{name}  1" in tidemill("dataset", "list", name).out
    report = tidemill("dataset", "show", name, "--page", tmp_path / "page.html", "--json").json
    assert report["leakage"]["same"]["count"] == 1 and (tmp_path / "page.html").stat().st_size > 10_000
    assert "violations: 0" in tidemill("dataset", "show", f"{name}@1", "--workers", 4).out
    assert "12 examples" in tidemill("dataset", "export", name, tmp_path / "out", "--format", "coco").out
    assert len(list((tmp_path / "out" / "images").rglob("*.png"))) == 12

    half = ("--split", "train=0.5", "--split", "test=0.5", "--where", "width = 24", "--labelled", "--salt", "x")
    tidemill("dataset", "create", f"{name}-half", "--project", name, *half, "--workers", 2)
    (row,) = tidemill("dataset", "list", f"{name}-half", "--json").json
    assert row["examples"] == 12 and set(row["splits"]) == {"train", "test"}

    facts = tidemill("dataset", "retract", name, "test-cat-000", "--reason", "asked", "--json").json
    assert facts["datasets"] == [f"{name}@1", f"{name}-half@1"] and facts["models"] == []
    assert f"{name}@2" in tidemill("dataset", "create", name, "--project", name, "--split-field", "split").out
    found = tidemill("dataset", "diff", f"{name}@1", f"{name}@2", "--json").json
    assert found["removed"] == ["test-cat-000"] and not found["added"]
    assert "removed: 1 (test-cat-000)" in tidemill("dataset", "diff", f"{name}@1", f"{name}@2").out


def test_a_crowd_of_label_studio_s_comes_in_and_goes_out(tidemill, tmp_path, fresh):
    name, other = fresh("crowd"), fresh("again")
    folder = source(tmp_path / "in")
    said = tidemill("dataset", "import", name, folder).out
    assert "5 items" in said and "2 labels" in said and "7 answers of several annotators" in said
    assert "left out: 1 annotation that was cancelled" in said
    words = ("dataset", "create", name, "--project", name)
    assert "2 examples have answers and no label of these yet" in tidemill(*words).out
    facts = tidemill(*words, "--json").json
    assert (facts["unlabelled"], facts["answered"], facts["new"]) == (3, 2, False)
    assert "2 examples have answers and no label of these yet" in tidemill("dataset", "show", name).out
    tidemill("dataset", "export", name, tmp_path / "out", "--format", "labelstudio")
    done = tidemill("dataset", "import", other, tmp_path / "out", "--json").json
    assert (done["items"], done["labels"], done["answers"]) == (5, 2, 7)


def test_sounds_that_training_cannot_decode_are_named(tidemill, tmp_path, fresh):
    name = fresh("sounds")
    tidemill("labelling", "project", "create", name, "--medium", "audio", "--class", "a", "--class", "b")
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.flac").write_bytes(b"fLaC" + bytes([i] * 60))
    tidemill("labelling", "items", name, folder)
    words = ("dataset", "create", name, "--project", name)
    assert "sounds are no" not in tidemill(*words).out
    assert tidemill(*words, "--json").json["unheard"] == 0  # of a type that is decoded
    wrong = tidemill("dataset", "show", name, "--json").json["violations"]
    assert wrong["count"] == 3 and "not a sound that is taken" in wrong["first"][0]["what"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("create", "x", "--project", "nobody"), "no stream"),
        (("create", "x", "--project", "nobody", "--split", "train"), "not a split"),
        (("create", "x", "--project", "nobody", "--augment", "/nowhere"), "cannot be read"),
        (("show", "nobody"), "no data set"),
        (("export", "nobody", "/tmp/x", "--format", "voc"), "no data set"),
        (("import", "x", "/nowhere"), "does not exist"),
        (("retract", "nobody", "x"), "no stream"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(tidemill, words, says):
    told = tidemill("dataset", *words)
    assert told.code == 2 and says in told.err and told.err.count("\n") == 1


def test_transforms_are_a_list_of_objects(tidemill, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"name": "flip"}))
    told = tidemill("dataset", "create", "x", "--project", "y", "--augment", tmp_path / "a.json")
    assert told.code == 2 and "not a list of transforms" in told.err


@pytest.mark.parametrize(
    ("transform", "says"),
    [
        ({"name": "flip", "p": 0.5}, "unknown field `p`"),
        ({"name": "flip"}, "no such transform"),
        ({"name": "RandomCrop"}, "an argument is missing"),
    ],
)
def test_transforms_are_torchvision_s_with_its_arguments(tidemill, tmp_path, transform, says):
    (tmp_path / "a.json").write_text(json.dumps([transform]))
    told = tidemill("dataset", "create", "x", "--project", "y", "--augment", tmp_path / "a.json")
    assert told.code == 2 and says in told.err


def test_where_torch_is_torchvision_itself_is_asked(tidemill, tmp_path):
    pytest.importorskip("torchvision")
    (tmp_path / "a.json").write_text(json.dumps([{"name": "RandomHorizontalFlip", "args": {"p": 7}}]))
    told = tidemill("dataset", "create", "x", "--project", "y", "--augment", tmp_path / "a.json")
    assert told.code == 2 and "torchvision refuses" in told.err
