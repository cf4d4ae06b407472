"""What nodes are: their features, versioned by time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graph.adjacency import Adjacency, Int
from graph.columns import Column
from graph.relation import NodeType
from graph.selection import ALIKE, RECENT, select

_NONE = np.empty(0, np.int64)


class Versions:
    """The features of the nodes of one type. Every version is kept: any moment can be asked for."""

    def __init__(self, node_type: NodeType, column: Callable[[str, Any, int], Column]) -> None:
        self.node_type = node_type
        self.node, self.time = column("node", np.int32, 0), column("time", np.int64, 0)
        self.rows = column("rows", np.float32, len(node_type.features))
        self.count = 0
        self._plane = Adjacency(column)

    def grow_nodes(self, count: int) -> None:
        self._plane.nodes(count)

    def put(self, nodes: Int, times: Int, rows: NDArray[np.float32] | None) -> None:
        count, new = self.count, len(nodes)
        for column, values in ((self.node, nodes), (self.time, times), (self.rows, rows)):
            column.room(count + new)
            column.array[count : count + new] = values
        self._plane.insert(nodes, np.zeros(new, np.int64), times, count)
        self.count += new

    def get(self, nodes: Int, before: Int) -> NDArray[np.float32]:
        arrays = self._plane.heads.array, self._plane.pool.array, _NONE
        asked, _, _, rows = select(*arrays, self._plane.size, 0, nodes, before, 1, 0, RECENT, 0, ALIKE)
        out = np.full((len(nodes), len(self.node_type.features)), np.nan, np.float32)
        out[asked] = self.rows.array[rows]
        return out

    def save(self) -> dict[str, Any]:
        """All versions in the order of coming."""
        return {name: column.array[: self.count].copy() for name, column in self._columns()}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take over, with the nodes there, what `save` gave."""
        self.put(saved["node"].astype(np.int64), saved["time"], saved["rows"])

    def parts(self) -> dict[str, NDArray[Any]]:
        """Everything as it lies in memory."""
        return {name: column.array[: self.count] for name, column in self._columns()} | self._plane.parts()

    def take(self, parts: Mapping[str, NDArray[Any]]) -> None:
        """Take up what `parts` gave; nothing is copied before it is changed."""
        self.count = len(parts["time"])
        for name, column in self._columns():
            column.take(parts[name])
        self._plane.take(parts)

    def _columns(self) -> list[tuple[str, Column]]:
        return [("node", self.node), ("time", self.time), ("rows", self.rows)]
