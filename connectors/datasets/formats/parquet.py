"""Parquet: every field, the bytes, and the label of each example; nothing is lost.

Columns are the declared fields, `@bytes`, `@label` (JSON), `@group` and `@split`; the schema of labels and the fields'
declaration stand in the file's metadata under `tidemill`. Of a file without them, columns become fields; an image as a
struct with `bytes` or a column of binary is the media, and `label` the label.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.datasets.dataset import field_name
from connectors.datasets.formats.files import MAX_MEDIA, Root
from connectors.datasets.formats.item import Incoming, Outgoing, RawItem, classes_in, kind_of
from tidemill.errors import UserError
from tidemill.label_events import Kind, Medium
from tidemill.stream import FieldType

_TYPES = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "string": pa.string(), "time": pa.int64()}
_KEY = b"tidemill"
_ROWS = 500
_OURS = ("@bytes", "@label", "@group", "@split")


class _Meta(msgspec.Struct):
    kind: Kind
    medium: Medium
    classes: tuple[str, ...]
    fields: dict[str, FieldType]


def write(out: Outgoing, folder: Path, fields: dict[str, FieldType]) -> None:
    """Write `examples.parquet`; `fields` are the declared types of the stream's fields."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = [pa.field(name, _TYPES.get(kind, pa.string())) for name, kind in fields.items()]
    columns += [pa.field("@bytes", pa.binary()), *(pa.field(name, pa.string()) for name in _OURS[1:])]
    meta = msgspec.json.encode(_Meta(out.kind, out.medium, out.classes, fields), order="deterministic")
    schema = pa.schema(columns, metadata={_KEY: meta})
    json = msgspec.json.encode
    with pq.ParquetWriter(folder / "examples.parquet", schema, compression="zstd") as file:
        for at in range(0, len(out.examples), _ROWS):
            rows = []
            for e in out.examples[at : at + _ROWS]:
                row = {
                    name: json(e.payload.get(name)).decode() if kind == "json" else e.payload.get(name)
                    for name, kind in fields.items()
                }
                row |= {"@bytes": out.bytes_of(e) if e.media else None, "@group": e.group, "@split": e.split}
                row["@label"] = None if e.label is None else json(out.named(e.label)).decode()
                rows.append(row)
            file.write_table(pa.Table.from_pylist(rows, schema=schema))


def read(folder: Path) -> Incoming:
    """Raises `UserError` where there is no Parquet file, or one cannot be read."""
    root = Root(folder)
    names = [n for n in root.names() if n.endswith(".parquet")]
    if not names:
        raise UserError("no Parquet file", where=str(folder), wanted="files *.parquet")
    try:
        schema = pq.read_schema(root.path(names[0]))
        found = (schema.metadata or {}).get(_KEY)
        if found is None:
            return _foreign(root, names, schema)
        meta = msgspec.json.decode(found, type=_Meta)
    except (pa.ArrowException, OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError("a Parquet file cannot be read", where=names[0], got=str(error)[:200]) from None
    own = {"id", "time", "media", "media_type", "group", "split"}

    def items() -> Iterator[RawItem]:
        for row in _rows(root, names):
            payload = {
                n: msgspec.json.decode(row[n]) if k == "json" and row[n] is not None else row[n]
                for n, k in meta.fields.items()
            }
            label = None if row["@label"] is None else msgspec.json.decode(row["@label"])
            media_type = payload.get("media_type") or ""
            yield RawItem(
                str(payload["id"]), row["@bytes"], media_type, payload, label, row["@group"] or "", row["@split"] or ""
            )

    fields = {n: k for n, k in meta.fields.items() if n not in own}
    return Incoming(meta.kind, meta.medium, meta.classes, _guarded(items(), names[0]), dict(fields))


def _rows(root: Root, names: list[str]) -> Iterator[dict[str, Any]]:
    for name in names:
        with pq.ParquetFile(root.path(name)) as file:
            for batch in file.iter_batches(_ROWS):
                yield from batch.to_pylist()


def _guarded(items: Iterator[RawItem], where: str) -> Iterator[RawItem]:
    """The items; what is wrong with a file in its midst is said as elsewhere."""
    try:
        for item in items:
            if item.data is not None and len(item.data) > MAX_MEDIA:
                raise UserError("an item is too large", where=item.id, wanted=f"at most {MAX_MEDIA:,} bytes")
            yield item
    except (pa.ArrowException, OSError, KeyError, msgspec.DecodeError) as error:
        raise UserError("a Parquet file cannot be read", where=where, got=str(error)[:200]) from None


def _foreign(root: Root, names: list[str], schema: pa.Schema) -> Incoming:
    """Columns of another's file."""
    fields: dict[str, str] = {}
    media = next((f.name for f in schema if _is_media(f.type)), None)
    for f in schema:
        if f.name in (media, "label", "id"):
            continue
        fields[field_name(f.name)] = _kind_of_column(f.type)
    labels = [] if "label" not in schema.names else _labels(root, names)
    kinds = {found for v in labels if (found := kind_of(_plain(v))) is not None}
    kind: Kind = kinds.pop() if len(kinds) == 1 else "single"
    classes = sorted({c for v in labels for c in classes_in(_class(v, kind), kind)})
    medium: Medium = "image" if media else "text" if "text" in fields else "row"

    def items() -> Iterator[RawItem]:
        for i, row in enumerate(_rows(root, names), 1):
            payload = {
                field_name(n): v if fields[field_name(n)] != "string" or v is None else str(v)
                for n, v in row.items()
                if n not in (media, "label", "id")
            }
            value = row.get(media) if media else None
            data = value.get("bytes") if isinstance(value, dict) else value
            id = str(row["id"]) if row.get("id") is not None else f"{Path(names[0]).stem}-{i:06d}"
            yield RawItem(id, data, "", payload, _class(row.get("label"), kind))

    return Incoming(kind, medium, tuple(classes), _guarded(items(), names[0]), fields)


def _is_media(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _kind_of_column(kind: pa.DataType) -> str:
    for fits, name in (
        (pa.types.is_boolean, "bool"),
        (pa.types.is_integer, "int"),
        (pa.types.is_floating, "float"),
        (pa.types.is_nested, "json"),
    ):
        if fits(kind):
            return name
    return "string"


def _labels(root: Root, names: list[str]) -> list[Any]:
    return [v for n in names for v in pq.read_table(root.path(n), columns=["label"])["label"].to_pylist()]


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _class(value: Any, kind: Kind) -> Any:
    return None if value is None else [str(v) for v in value] if kind == "multi" else _plain(value)
