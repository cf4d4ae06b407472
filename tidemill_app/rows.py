"""Rows of a user's file: CSV, JSON Lines and Parquet, each row with its line number.

A CSV holds text only, so its cells become what the declaration says (see `connectors.text`). What does not convert is
left as text, for the declaration to refuse by name. Files that end in `.gz` are unpacked on the way.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from connectors import text
from tidemill.errors import ConfigError
from tidemill.stream import StreamSpec
from tidemill.time import round_micros, to_rfc3339


class Row(NamedTuple):
    """One row of a file: its line (counted from 1; of Parquet, the row) and what stood there.

    `value` is the payload as JSON bytes; `data` the same as a dict, or None where the line is no JSON object. `problem`
    says why, where the file's own format does.
    """

    line: int
    value: bytes
    data: dict[str, Any] | None
    problem: str = ""


def kind_of(path: str, kind: str | None = None) -> str:
    """`csv`, `tsv`, `jsonl` or `parquet`, by the suffix; `-` is JSON Lines. Raises `ConfigError`."""
    return kind or ("jsonl" if path == "-" else text.kind_of(path))


def read_rows(path: str, spec: StreamSpec | None = None, *, kind: str | None = None) -> Iterator[Row]:
    """The rows of a file, or of standard input for `-`.

    With `spec`, the cells of a CSV become its types; without, they stay text.
    Raises `ConfigError` where there is no such file or it is not what its name says.
    """
    what = kind_of(path, kind)
    if what == "parquet":
        yield from _parquet(path)
        return
    with open_bytes(path) as stream:
        try:
            if what == "jsonl":
                yield from _jsonl(stream)
            else:
                yield from _csv(path, stream, "\t" if what == "tsv" else ",", spec)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise ConfigError("cannot read the file", where=path, wanted="gzip", got=str(error)) from None


def open_bytes(path: str) -> AbstractContextManager[Any]:
    """The bytes of a file (unpacked, for `.gz`), or of standard input for `-`. Raises `ConfigError`."""
    if path == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return gzip.open(path, "rb") if path.endswith(".gz") else Path(path).open("rb")
    except OSError as error:
        raise ConfigError("cannot read the file", where=path, got=error.strerror or str(error)) from None


def digest_of(path: str) -> str:
    """SHA-256 of a file's bytes (as they stand, before unpacking), in hexadecimal. Raises `ConfigError`."""
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError("cannot read the file", where=path, got=error.strerror or str(error)) from None


def _jsonl(stream: Iterable[bytes]) -> Iterator[Row]:
    for number, line in enumerate(stream, 1):
        value = line.strip()
        if not value:
            continue
        try:
            data = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            data = None
        yield Row(number, value, data if isinstance(data, dict) else None)


def _csv(path: str, stream: IO[bytes], delimiter: str, spec: StreamSpec | None) -> Iterator[Row]:
    lines = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    try:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        names = next(reader, None)
        if not names:
            raise ConfigError("the file is empty", where=path, wanted="a first line that names the columns")
        if len(set(names)) != len(names) or not all(names):
            raise ConfigError("the first line must name every column, each once", where=path, got=", ".join(names))
        convert = [_converter(spec, name) for name in names]
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(names):
                count = f"{len(cells)} cell{'s' if len(cells) > 1 else ''}"
                problem = f"{count}, where the first line names {len(names)}: {', '.join(names)}"[:200]
                yield Row(reader.line_num, delimiter.join(cells).encode(), None, problem)
                continue
            data = {n: c(cell) for n, c, cell in zip(names, convert, cells, strict=True) if cell != "" or spec is None}
            if None in data.values():
                data = {n: value for n, value in data.items() if value is not None}
            yield Row(reader.line_num, encode(data), data)
    except UnicodeDecodeError as error:
        raise ConfigError("not UTF-8", where=path, got=str(error), fix="Convert the file to UTF-8 first.") from None
    except csv.Error as error:
        raise ConfigError("not a CSV", where=f"{path}:{reader.line_num}", got=str(error)) from None
    finally:
        lines.detach()


def _converter(spec: StreamSpec | None, name: str) -> Callable[[str], Any]:
    if spec is None or name not in {f.name for f in spec.fields}:
        return str
    kind = spec.field(name).type
    read = text.reader_of(kind)
    return lambda cell: read(cell) if text.is_value(cell, kind) else None


def _parquet(path: str) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise ConfigError("cannot read the file", where=path, wanted="Parquet", got=str(error)) from None
    with file:
        line = 0
        for batch in file.iter_batches(batch_size=10_000):
            for data in batch.to_pylist():
                line += 1
                yield Row(line, encode(data), data)


def encode(data: dict[str, Any]) -> bytes:
    """A payload as JSON. Dates and times become RFC 3339; NaN and infinite numbers stand as such, to be refused."""
    try:
        plain = {name: _plain(value) for name, value in data.items()}
        if any(isinstance(v, float) and (v != v or v in (float("inf"), float("-inf"))) for v in plain.values()):
            return json.dumps(plain, ensure_ascii=False, default=str).encode()
        return msgspec.json.encode(plain)
    except (TypeError, ValueError, UnicodeEncodeError):
        return json.dumps(data, default=str).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return to_rfc3339(round_micros(value if value.tzinfo else value.replace(tzinfo=UTC)))
    return value.isoformat() if isinstance(value, date) else value
