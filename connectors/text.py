"""Files of text: what one holds by its name, and what a cell of a CSV means.

An empty cell is no value, and so are `NA`, `N/A`, `NaN`, `nan`, `null` and `NULL` where no text is declared; `true`,
`yes`, `1` and `false`, `no`, `0` are a bool.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tidemill.errors import ConfigError
from tidemill.stream import FieldType

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""What a file holds, by the end of its name; `.gz` after it is unpacked."""

NULLS = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL"})
"""Cells that are no value where anything but text is declared."""

BOOLS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}


def kind_of(name: str) -> str:
    """`csv`, `tsv`, `jsonl` or `parquet`. Raises `ConfigError` for another ending."""
    kind = SUFFIXES.get(Path(name.removesuffix(".gz")).suffix.lower())
    if kind is None:
        raise ConfigError(
            "cannot tell what the file holds", where=name, wanted="a name that ends in " + ", ".join(sorted(SUFFIXES))
        )
    return kind


def is_value(cell: str, kind: FieldType) -> bool:
    """Whether a cell of a field of this type holds a value at all."""
    return cell != "" if kind == "string" else cell not in NULLS


def reader_of(kind: FieldType) -> Callable[[str], Any]:
    """What turns a cell into a value as JSON has it. A cell that is none of this type stays text, for the declaration
    to refuse by name."""
    return _READERS[kind]


def _left(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(cell: str) -> Any:
        try:
            return convert(cell)
        except (ValueError, KeyError):
            return cell

    return read


_READERS: dict[FieldType, Callable[[str], Any]] = {
    "int": _left(int),
    "float": _left(float),
    "bool": _left(lambda cell: BOOLS[cell.strip().lower()]),
    "string": str,
    "time": _left(lambda cell: int(cell) if cell.strip().lstrip("+-").isdigit() else float(cell)),
    "json": _left(json.loads),
}
