"""Files of a person as items: ids by paths, rows by their cells, and errors that name the file."""

import pytest

from serving.labelling.uploads import MAX_ITEMS, NewItem
from tidemill.errors import ConfigError, IncompatibleError, RequestError, TooLargeError
from tidemill_app.labelling_files import batches, cell, items_of, refused


def test_two_files_of_one_name_are_two_items(tmp_path):
    for folder, text in (("d1", "id,a\n,1\nx,2\n"), ("d2", "a\n3\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.csv").write_text(text)
    found = {i.id: i.payload for i in items_of([tmp_path], "row", prefix="p/")}
    assert found == {"p/d1/t.csv:1": {"a": 1}, "p/x": {"a": 2}, "p/d2/t.csv:1": {"a": 3}}
    assert [i.id for i in items_of([tmp_path / "d1" / "t.csv"], "row")] == ["t.csv:1", "x"]


def test_a_folder_is_a_group(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(b"x")
    (tmp_path / "cat" / ".2.png").write_bytes(b"x")
    (item,) = items_of([tmp_path], "image")
    assert (item.id, item.group, item.media) == ("cat/1.png", "cat", "eA==")


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("-1.50e1", -15), ("0.1", 0.1), ("-0", 0), ("007", "007"), ("+1", "+1"), ("1e999", "1e999"),
     ("1234567890123456", "1234567890123456"), ("٣", "٣"), ("", ""), ("true", "true"), ("0x10", "0x10"), (" 1", " 1")],
)  # fmt: skip
def test_a_cell_is_a_number_where_nothing_is_lost(text, value):
    assert (cell(text), type(cell(text))) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "content", "medium"),
    [("a.csv", b"a,b\n1\n", "row"), ("a.csv", b"a\n1\n", "text"), ("a.jsonl", b"[]\n", "row"),
     ("a.txt", b"\xff", "text"), ("a.txt", b"a", "row")],
)  # fmt: skip
def test_a_file_that_cannot_be_taken_is_named(tmp_path, name, content, medium):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=name):
        list(items_of([tmp_path / name], medium))


def test_batches_are_bounded():
    sizes = [len(b) for b in batches(NewItem(id=str(i), text="x") for i in range(MAX_ITEMS))]
    assert sizes == [MAX_ITEMS // 4] * 4


@pytest.mark.parametrize(
    "error",
    [
        RequestError("an item is wrong", field="items[1].media"),
        IncompatibleError("an item of this id is there with other bytes", where="items[1]", field="items[1].id"),
        TooLargeError("too large", where="items[1].media"),
    ],
)
def test_an_error_names_the_file(error):
    said = refused(error, [NewItem(id="a"), NewItem(id="b")])
    assert said.where == "b" and ("--prefix" in said.fix) == isinstance(error, IncompatibleError)
