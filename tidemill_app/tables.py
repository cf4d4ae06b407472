"""Rows as text in aligned columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """`rows` under `head`, each column as wide as its widest cell. A head of empty names is left out."""
    cells = [list(head)] if any(head) else []
    cells += [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)] if cells else []
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, (dict, list)):
        return msgspec.json.encode(value).decode()
    return str(value)
