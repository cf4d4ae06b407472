"""Files as a log: JSON Lines, CSV and Parquet, in event-time order; and tables written to files.

All files of a log together are sorted by event time (rows of equal time keep the order of files and rows). Offsets
depend on nothing but the files' bytes and the declaration (`connectors.table_log`):

* CSV and Parquet: each record is an Arrow block. After them, one record for each row that does not fit the
  declaration, as JSON, so that whoever decodes it says what is wrong with it.
* JSON Lines: each record is a line, untouched; lines without a usable event time come last.

Everything is held in memory, as Arrow columns or lines.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import fsspec
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from connectors.arrow import JSON_METADATA, from_numpy
from connectors.cells import TYPES, convert, plain
from connectors.table_log import TableLog
from connectors.text import is_value, kind_of, reader_of
from tidemill.errors import BadEvent, ConfigError
from tidemill.stream import RECORD_TIME, StreamSpec
from tidemill.time import parse_time


class FileLog(TableLog):
    """The log over the files at `path`: a file, a folder (its files, in order of their names), a pattern with `*`, or
    any of these as a URL of fsspec's.

    `digest` is the SHA-256 over the names and contents of the files. Raises `ConfigError` where there is no such file,
    one is not what its name says, lines and tables are mixed, or the stream takes its event time from the log.
    """

    def __init__(self, path: str, spec: StreamSpec) -> None:
        if spec.time == RECORD_TIME:
            raise ConfigError(
                "files have no append time",
                where=f"stream {spec.name}",
                wanted="a declaration that names the field with the event time",
            )
        tables: list[pa.Table] = []
        lines: list[tuple[int, bytes]] = []
        rest: list[bytes] = []
        digest = hashlib.sha256()
        files = _files(path)
        if len({kind_of(name) == "jsonl" for name, _ in files}) > 1:
            raise ConfigError("files of lines and of tables in one log", where=path, wanted="one or the other")
        for name, data in files:
            digest.update(f"{name}\0{len(data)}\0".encode() + data)
            kind = kind_of(name)
            if name.endswith(".gz"):
                data = _unpacked(name, data)
            if kind == "jsonl":
                found, bad = _lines(data, spec)
                lines += found
            else:
                table, bad = _fitted(_read(name, kind, data), spec, text=kind != "parquet")
                tables.append(table)
            rest += bad
        self.digest = digest.hexdigest()
        super().__init__(spec, pa.concat_tables(tables) if tables else None, lines, rest)


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as the format that the file's name says; the file appears whole or not at all.

    Timestamps are written as RFC 3339 where the format has text only. Raises `ConfigError` for another name.
    """
    kind = kind_of(path.name)
    beside = path.with_name(f".{path.name}.part")
    try:
        with gzip.open(beside, "wb") if path.name.endswith(".gz") else beside.open("wb") as file:
            if kind == "parquet":
                pq.write_table(table, file)
            elif kind == "jsonl":
                for row in table.to_pylist():
                    file.write(
                        json.dumps(row, default=plain, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
                    )
            else:
                pcsv.write_csv(table, file, pcsv.WriteOptions(delimiter="\t" if kind == "tsv" else ","))
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _files(path: str) -> list[tuple[str, bytes]]:
    """Names (relative to a folder) and contents, by name."""
    try:
        fs, root = fsspec.core.url_to_fs(path)
        if "*" in path:
            found = {str(f): str(f).rpartition("/")[2] for f in fs.glob(root)}
        elif fs.isdir(root):
            found = {str(f): str(f)[len(str(root)) :].lstrip("/") for f in fs.find(root)}
        else:
            found = {str(root): str(root).rpartition("/")[2]}
        seen = [(name, f) for f, name in found.items() if not any(p.startswith((".", "_")) for p in name.split("/"))]
        contents = [(name, bytes(fs.cat_file(f))) for name, f in sorted(seen)]
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(
            "cannot read the files", where=path, got=getattr(error, "strerror", "") or str(error)
        ) from None
    if not contents:
        raise ConfigError("there are no files", where=path)
    return contents


def _unpacked(name: str, data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except (OSError, EOFError) as error:
        raise ConfigError("cannot unpack the file", where=name, got=str(error)) from None


def _read(name: str, kind: str, data: bytes) -> tuple[pa.Table, list[bytes]]:
    """The table in a file, and what rows of a CSV have another number of cells."""
    try:
        if kind == "parquet":
            return pq.read_table(pa.BufferReader(data)), []
        return _read_csv(name, data, "\t" if kind == "tsv" else ",")
    except (pa.ArrowException, OSError) as error:
        raise ConfigError("cannot read the file", where=name, wanted=kind, got=str(error)[:200]) from None


def _read_csv(name: str, data: bytes, delimiter: str) -> tuple[pa.Table, list[bytes]]:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError("not UTF-8", where=name, got=str(error), fix="Convert the file to UTF-8 first.") from None
    header = next(csv.reader(io.StringIO(data.split(b"\n", 1)[0].decode("utf-8-sig")), delimiter=delimiter), [])
    if not header or not all(header) or len(set(header)) != len(header):
        raise ConfigError("the first line must name every column, each once", where=name, got=", ".join(header))
    odd: list[bytes] = []

    def keep(row: Any) -> str:
        odd.append(row.text.encode())
        return "skip"

    table = pcsv.read_csv(
        pa.BufferReader(data),
        read_options=pcsv.ReadOptions(use_threads=False),
        parse_options=pcsv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=keep),
        convert_options=pcsv.ConvertOptions(column_types={n: pa.string() for n in header}, strings_can_be_null=False),
    )
    return table, odd


def _fitted(read: tuple[pa.Table, list[bytes]], spec: StreamSpec, *, text: bool) -> tuple[pa.Table, list[bytes]]:
    """The rows that fit the declaration, as its columns; the others as JSON."""
    table, odd = read
    table = table.combine_chunks()
    n = len(table)
    fits = np.ones(n, dtype=np.bool_)
    fields, columns = [], []
    for field in spec.fields:
        given = table[field.name] if field.name in table.column_names else pa.nulls(n, pa.string())
        values = given.combine_chunks() if isinstance(given, pa.ChunkedArray) else given
        column, good = convert(values, field, spec.time_unit, text=text)
        fits &= good
        fields.append(pa.field(field.name, TYPES[field.type], metadata=JSON_METADATA if field.type == "json" else None))
        columns.append(column)
    out = pa.Table.from_arrays(columns, schema=pa.schema(fields))
    if fits.all():
        return out, odd
    known = [f.name for f in spec.fields if f.name in table.column_names]
    wrong = table.select(known).take(pa.array(np.flatnonzero(~fits))).to_pylist()
    if text:
        kinds = {name: spec.field(name).type for name in known}
        wrong = [{k: reader_of(kinds[k])(v) for k, v in row.items() if is_value(v, kinds[k])} for row in wrong]
    bad = [json.dumps(row, default=plain, ensure_ascii=False).encode() for row in wrong]
    return out.filter(from_numpy(fits)), bad + odd


def _lines(data: bytes, spec: StreamSpec) -> tuple[list[tuple[int, bytes]], list[bytes]]:
    """Lines with their event times, and the lines that have none."""
    decoder = msgspec.json.Decoder(msgspec.defstruct("Timed", [("time", Any, msgspec.field(name=spec.time))]))
    timed: list[tuple[int, bytes]] = []
    rest: list[bytes] = []
    for line in data.split(b"\n"):
        line = line.strip()
        if not line:
            continue
        try:
            timed.append((parse_time(msgspec.structs.astuple(decoder.decode(line))[0], spec.time_unit), line))
        except (msgspec.DecodeError, UnicodeDecodeError, BadEvent):
            rest.append(line)
    return timed, rest
