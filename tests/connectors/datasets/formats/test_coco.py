"""COCO, read and written."""

import msgspec
import pytest

from connectors.datasets.formats.coco import read, write
from tests.connectors.datasets.formats.samples import named, png, sample
from tests.connectors.test_images import turned
from tidemill.errors import NotFoundError, UserError

IMAGES = [{"id": 1, "file_name": "a.png"}]
CATEGORIES = [{"id": 1, "name": "cat"}]


@pytest.mark.parametrize("kind", ["boxes", "single", "multi"])
def test_what_was_written_is_read_again(tmp_path, kind):
    out = sample(kind)
    write(out, tmp_path)
    found = read(tmp_path)
    items = {item.id: item for item in found.items}
    stems = [f.removesuffix(".png") for f in out.files()]
    assert (found.kind, found.classes) == (kind, out.classes)
    assert [items[s].label for s in stems] == named(out)
    assert [items[s].split for s in stems] == ["train", "valid", "test", "train"]
    assert [items[s].group for s in stems] == [e.group for e in out.examples]
    assert all(items[s].data == png(n) for n, s in enumerate(stems))


def written(folder, name="annotations/instances_val2017.json", **content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode({"images": IMAGES, "categories": CATEGORIES} | content))
    return folder


def test_files_as_others_lay_them_out(tmp_path):
    (tmp_path / "val2017").mkdir()
    (tmp_path / "val2017" / "a.png").write_bytes(png(0))
    boxes = [
        {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4.5], "segmentation": [[1, 2]], "iscrowd": 0},
        {"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 1},
    ]
    found = read(written(tmp_path, annotations=boxes))
    (item,) = found.items
    assert (item.split, item.label) == ("valid", [["cat", 1.0, 2.0, 3.0, 4.5]])
    assert found.passed_over == ["1 crowds"]


@pytest.mark.parametrize(("size", "box"), [((30, 20), [20 - 2 - 4.5, 1, 4.5, 3]), ((20, 30), [1, 2, 3, 4.5])])
def test_boxes_are_upright_whichever_pixels_a_source_counts_in(tmp_path, size, box):
    (tmp_path / "a.png").write_bytes(turned(6, "PNG"))
    images = [{**IMAGES[0], "width": size[0], "height": size[1]}]
    boxes = [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4.5]}]
    (item,) = read(written(tmp_path, images=images, annotations=boxes)).items
    assert item.label == [["cat", *box]]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"annotations": [{"image_id": 2, "category_id": 1}]}, "names no image"),
        ({"annotations": [{"image_id": 1, "category_id": 7}]}, "names no image"),
        ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, -1, 2]}]}, "smaller than nothing"),
        ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1]}]}, "JSON"),
        ({"images": IMAGES * 2}, "one id"),
        ({"images": 5}, "JSON"),
        ({"categories": [*CATEGORIES, {"id": 1, "name": "dog"}]}, "one id"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, content, says):
    with pytest.raises(UserError, match=says):
        read(written(tmp_path, **content))


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/../../../x.png"])
def test_images_are_looked_for_in_the_folder_only(tmp_path, name):
    (tmp_path / "secret.png").write_bytes(png(0))
    found = read(written(tmp_path / "in", images=[{"id": 1, "file_name": name}]))
    with pytest.raises(UserError, match="leads out"):
        list(found.items)


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(UserError, match="no COCO"):
        read(tmp_path)
    with pytest.raises(NotFoundError, match="not there"):
        list(read(written(tmp_path)).items)
    with pytest.raises(UserError, match="boxes and classes"):
        write(sample("transcription"), tmp_path)
