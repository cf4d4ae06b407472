"""What the stream knows, kept in memory: the feature tables that follow `features.<job>`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tidemill.events import FeatureUpdated

Fallback = Callable[[str, str], Mapping[str, Any] | None]
"""A row from elsewhere (the cache in Redis) by table and key, or None."""


class FeatureTables:
    """The newest row of each table and key of one job. One thread applies, any thread reads.

    Until `fresh` (the follower has read the topic to its end), a row that is not here yet is asked of `fallback`, so
    that a server just started answers with what Redis holds; afterwards no request leaves the process.
    """

    def __init__(self, fallback: Fallback | None = None) -> None:
        self._tables: dict[str, dict[str, Mapping[str, Any]]] = {}
        self._fallback = fallback
        self.sequence = 0
        self.fresh = False

    def get(self, table: str, key: str) -> Mapping[str, Any] | None:
        rows = self._tables.get(table)
        row = None if rows is None else rows.get(key)
        if row is None and not self.fresh and self._fallback is not None:
            return self._fallback(table, key)
        return row

    def apply(self, update: FeatureUpdated) -> None:
        rows = self._tables.get(update.table)
        if rows is None:
            rows = self._tables.setdefault(update.table, {})
        rows[update.key] = update.values
        if update.sequence > self.sequence:
            self.sequence = update.sequence

    def remove(self, table: str, key: str) -> None:
        """The row was erased (a tombstone in the topic)."""
        self._tables.get(table, {}).pop(key, None)

    def __len__(self) -> int:
        return sum(map(len, self._tables.values()))
