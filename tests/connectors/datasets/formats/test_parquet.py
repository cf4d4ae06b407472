"""Parquet, read and written; and that of others."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.datasets.formats.parquet import read, write
from tests.connectors.datasets.formats.samples import LABELS, named, png, sample
from tidemill.errors import UserError

FIELDS = {"id": "string", "time": "time", "group": "string", "split": "string"}


@pytest.mark.parametrize("medium", ["image", "row"])
@pytest.mark.parametrize("kind", list(LABELS))
def test_nothing_is_lost(tmp_path, kind, medium):
    out = sample(kind, medium)
    own = {"name": "string"} if medium == "image" else {"text": "string", "size": "int", "more": "json"}
    write(out, tmp_path, FIELDS | own)
    found = read(tmp_path)
    items = list(found.items)
    assert (found.kind, found.medium, found.classes, found.fields) == (kind, medium, out.classes, own)
    assert [item.label for item in items] == named(out)
    assert [item.data for item in items] == [png(n) if medium == "image" else None for n in range(4)]
    for item, example in zip(items, out.examples, strict=True):
        assert {k: v for k, v in item.fields.items() if v is not None} == example.payload
        assert (item.id, item.group, item.split) == (example.id, example.group, example.split)


def test_an_image_data_set_as_others_keep_it(tmp_path):
    image = pa.array([{"bytes": png(n), "path": f"{n}.png"} for n in range(3)])
    pq.write_table(
        pa.table({"image": image, "label": [0, 1, 0], "Weight (kg)": [1.5, None, 2]}), tmp_path / "x.parquet"
    )
    found = read(tmp_path)
    items = list(found.items)
    assert (found.kind, found.medium, found.classes) == ("single", "image", ("0", "1"))
    assert [i.label for i in items] == ["0", "1", "0"] and items[2].data == png(2)
    assert found.fields == {"Weight__kg_": "float"} and items[0].fields == {"Weight__kg_": 1.5}
    assert [i.id for i in items] == ["x-000001", "x-000002", "x-000003"]


def test_a_table_of_others(tmp_path):
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["hi", "ho"], "label": ["spam", None]}), tmp_path / "x.parquet")
    found = read(tmp_path)
    assert (found.medium, [(i.id, i.data, i.label) for i in found.items]) == (
        "text",
        [("a", None, "spam"), ("b", None, None)],
    )


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1", b"no parquet at all"])
def test_a_broken_file_is_refused(tmp_path, data):
    (tmp_path / "x.parquet").write_bytes(data)
    with pytest.raises(UserError, match="cannot be read"):
        list(read(tmp_path).items)


def test_a_file_whose_metadata_lies_is_refused(tmp_path):
    meta = {b"tidemill": b'{"kind":"single","medium":"row","classes":[],"fields":{"id":"string","x":"int"}}'}
    pq.write_table(pa.table({"id": ["a"]}).replace_schema_metadata(meta), tmp_path / "x.parquet")
    with pytest.raises(UserError, match="cannot be read"):
        list(read(tmp_path).items)
    with pytest.raises(UserError, match="no Parquet"):
        (tmp_path / "in").mkdir()
        read(tmp_path / "in")
