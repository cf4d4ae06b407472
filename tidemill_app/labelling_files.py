"""Items of a labelling project from files of a person: images and sounds as they are, texts, and rows.

The page takes files in the same way (`serving/labelling/static/files.js`), so that an upload may begin in one and go on
in the other.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from serving.labelling.streamed import Streamed
from serving.labelling.uploads import MAX_ITEMS, NewItem
from tidemill.errors import ConfigError, TidemillError
from tidemill_app.rows import kind_of, read_rows

ROWS = {".csv", ".tsv", ".jsonl", ".ndjson"}
BYTES_AT_ONCE = 16 << 20
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_DIGITS = 15


def items_of(
    paths: Iterable[Path], medium: str, group: str = "", priority: float = 0.0, prefix: str = ""
) -> Iterator[NewItem]:
    """Items of the files, and of the files of folders, in the order of their names. A file's name is its item's id (of
    a folder's, its path in the folder), so that what was cut short can be done again; a row's is its file's and its
    number, or what its field `id` says. `prefix` goes before every id.

    Raises `ConfigError` for a file that cannot be read.
    """
    for path, name in _files(paths):
        if medium in ("text", "row") and path.suffix.lower() in ROWS:
            for number, (id, text, data) in enumerate(_rows(path, medium), 1):
                id = prefix + (id or f"{name}:{number}")
                yield NewItem(id=id, text=text, payload=data, group=group, priority=priority)
            continue
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ConfigError("cannot be read", where=str(path), got=error.strerror or str(error)) from None
        if medium == "text":
            try:
                yield NewItem(id=prefix + name, text=content.decode("utf-8-sig"), group=group, priority=priority)
            except UnicodeDecodeError:
                raise ConfigError("not a text", where=str(path), wanted="UTF-8") from None
        elif medium == "row":
            raise ConfigError("not a file of rows", where=str(path), wanted=", ".join(sorted(ROWS)))
        else:
            media = base64.b64encode(content).decode()
            yield NewItem(id=prefix + name, media=media, group=group or path.parent.name, priority=priority)


def cell(text: str) -> str | int | float:
    """What a cell of a CSV stands for: a number where it is one of JSON's of no more than 15 digits, which is finite,
    else the text itself. `007` and `1,5` stay texts."""
    if not _NUMBER.fullmatch(text) or sum(c.isdigit() for c in re.split("[eE]", text)[0]) > _DIGITS:
        return text
    number = float(text)
    if not math.isfinite(number):
        return text
    return int(number) if number.is_integer() and abs(number) < 10**_DIGITS else number


def _rows(path: Path, medium: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Id, text and fields of each row of a file."""
    typed = kind_of(path.name) in ("csv", "tsv")
    for row in read_rows(str(path)):
        if row.data is None:
            raise ConfigError("not a row", where=f"{path}, line {row.line}", got=row.problem)
        data = dict(row.data)
        text = str(data.pop("text", "")) if medium == "text" else ""
        if medium == "text" and not text:
            raise ConfigError("a row has no text", where=f"{path}, line {row.line}", wanted="a field text")
        id = str(data.pop("id", ""))
        yield id, text, {name: cell(value) if typed else value for name, value in data.items()}


def batches(items: Iterable[NewItem]) -> Iterator[list[NewItem]]:
    """The items, as many at once as may be sent together."""
    batch: list[NewItem] = []
    size = 0
    for item in items:
        new = len(item.media) + len(item.text)
        if batch and (len(batch) >= MAX_ITEMS // 4 or size + new > BYTES_AT_ONCE):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += new
    if batch:
        yield batch


def those_there(
    found: Iterable[tuple[str, Streamed]], priority: float = 0.0
) -> Iterator[tuple[list[NewItem], dict[str, Streamed]]]:
    """Items that are events of the stream already, with these, as many at once as may be sent together."""
    source = iter(found)
    while batch := dict(islice(source, MAX_ITEMS)):
        yield [NewItem(id=id, event=True, priority=priority) for id in batch], batch


def refused(error: TidemillError, batch: list[NewItem]) -> ConfigError:
    """The error for a person, who knows files and not a request's places."""
    found = re.match(r"items\[(\d+)\]", error.field or error.where)
    where = batch[int(found[1])].id if found else ""
    fix = "Give the ids of these files a --prefix of their own." if " id" in error.message else error.fix
    return ConfigError(error.message, where=where, wanted=error.wanted, got=error.got, fix=fix)


def _files(paths: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """The files, each with the name by which it is known."""
    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
            yield from ((p, p.relative_to(path).as_posix()) for p in found)
        else:
            yield path, path.name
