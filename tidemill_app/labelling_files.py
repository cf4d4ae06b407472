"""Items of a labelling project from files of a person: images and sounds as they are, texts, and rows."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from serving.labelling.uploads import MAX_ITEMS, NewItem
from tidemill.errors import ConfigError, RequestError
from tidemill_app.rows import read_rows

ROWS = {".csv", ".tsv", ".jsonl", ".ndjson"}
BYTES_AT_ONCE = 16 << 20


def items_of(paths: Iterable[Path], medium: str, group: str = "", priority: float = 0.0) -> Iterator[NewItem]:
    """Items of the files, and of the files of folders, in the order of their names. A file's name is its item's id,
    so that what was cut short can be done again; a row's is its file's and its number, or what its field `id` says.

    Raises `ConfigError` for a file that cannot be read.
    """
    for path in _files(paths):
        if medium in ("text", "row") and path.suffix.lower() in ROWS:
            for number, row in enumerate(read_rows(str(path)), 1):
                data = dict(row.data or {})
                if row.data is None:
                    raise ConfigError("not a row", where=f"{path}, row {number}")
                text = str(data.pop("text", "")) if medium == "text" else ""
                id = str(data.pop("id", f"{path.name}-{number}"))
                yield NewItem(id=id, text=text, payload=data, group=group, priority=priority)
            continue
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ConfigError("cannot be read", where=str(path), got=error.strerror or str(error)) from None
        if medium == "text":
            try:
                yield NewItem(id=path.name, text=content.decode(), group=group, priority=priority)
            except UnicodeDecodeError:
                raise ConfigError("not a text", where=str(path), wanted="UTF-8") from None
        elif medium == "row":
            raise ConfigError("not a file of rows", where=str(path), wanted=", ".join(sorted(ROWS)))
        else:
            media = base64.b64encode(content).decode()
            yield NewItem(id=path.name, media=media, group=group or path.parent.name, priority=priority)


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


def refused(error: RequestError, batch: list[NewItem]) -> ConfigError:
    """The error for a person, who knows files and not a request's places."""
    found = re.match(r"items\[(\d+)\]", error.field)
    where = batch[int(found[1])].id if found else ""
    return ConfigError(error.message, where=where, wanted=error.wanted, got=error.got)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
        else:
            yield path
