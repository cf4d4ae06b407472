"""Pascal VOC, read and written."""

import pytest

from connectors.datasets.formats.voc import number, read, write
from tests.connectors.datasets.formats.samples import named, png, sample
from tests.connectors.test_images import turned
from tidemill.errors import UserError


@pytest.mark.parametrize("kind", ["boxes", "single", "multi"])
def test_what_was_written_is_read_again(tmp_path, kind):
    out = sample(kind)
    write(out, tmp_path)
    found = read(tmp_path)
    items = {item.id: item for item in found.items}
    assert found.kind == kind and set(found.classes) <= set(out.classes)
    assert [items[f.removesuffix(".png")].label for f in out.files()] == named(out)
    assert [items[f.removesuffix(".png")].split for f in out.files()] == ["train", "valid", "test", "train"]
    assert all(items[f.removesuffix(".png")].data == png(n) for n, f in enumerate(out.files()))


def one(tmp_path, box, name="cat", folder="VOCdevkit/VOC2012"):
    top = tmp_path / folder
    (top / "JPEGImages").mkdir(parents=True)
    (top / "Annotations").mkdir()
    (top / "JPEGImages" / "a.png").write_bytes(png(0))
    (top / "Annotations" / "a.xml").write_text(
        f"<annotation><object><name>{name}</name><bndbox>{box}</bndbox></object></annotation>"
    )
    return tmp_path


def sides(*values):
    names = ("xmin", "ymin", "xmax", "ymax")
    return "".join(f"<{n}>{v}</{n}>" for n, v in zip(names, values, strict=True))


def test_pixels_are_counted_from_one_and_the_last_is_in(tmp_path):
    (item,) = read(one(tmp_path, sides(1, 1, 40, 30))).items
    assert item.label == [["cat", 0.0, 0.0, 40.0, 30.0]] and item.split == ""


@pytest.mark.parametrize(
    ("size", "box"), [((30, 20), [14, 1, 4, 3]), ((20, 30), [1, 2, 3, 4]), (("x", 1), [1, 2, 3, 4])]
)
def test_boxes_are_upright_whichever_pixels_a_source_counts_in(tmp_path, size, box):
    folder = one(tmp_path, sides(2, 3, 4, 6))
    (image,), (text,) = folder.rglob("a.png"), folder.rglob("a.xml")
    image.write_bytes(turned(6, "PNG"))
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height></size></annotation>"
    text.write_text(text.read_text().replace("</annotation>", stated))
    (item,) = read(folder).items
    assert item.label == [["cat", *box]]


@pytest.mark.parametrize(
    ("box", "says"),
    [
        (sides(5, 5, 4, 9), "ends before"),
        (sides("nan", 1, 2, 3), "xmin"),
        (sides(1, 1, 2, "1e999"), "ymax"),
        ("", "xmin"),
        (sides(1, "<x/>", 2, 3), "ymin"),
    ],
)
def test_a_box_that_cannot_be_is_refused(tmp_path, box, says):
    with pytest.raises(UserError, match=says):
        read(one(tmp_path, box))


def test_hostile_or_missing_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="no VOC folder"):
        read(tmp_path)
    folder = one(tmp_path, sides(1, 1, 2, 2), folder="V")
    (tmp_path / "V" / "Annotations" / "b.xml").write_bytes(b"<!DOCTYPE x><annotation/>")
    with pytest.raises(UserError, match="document type"):
        read(folder)
    (tmp_path / "V" / "Annotations" / "b.xml").write_bytes(b"<annotation/>")
    with pytest.raises(UserError, match="no image"):
        list(read(folder).items)


def test_labels_it_cannot_hold_are_refused(tmp_path):
    with pytest.raises(UserError, match="boxes and classes"):
        write(sample("rating"), tmp_path)


@pytest.mark.parametrize(("value", "text"), [(1.0, "1"), (10.0, "10"), (1.25, "1.25"), (0.1 + 0.2, "0.3"), (0, "0")])
def test_numbers_are_short(value, text):
    assert number(value) == text
