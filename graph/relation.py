"""What a graph is made of: node types, and relations between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tidemill.errors import UserError
from tidemill.stream import check_name


@dataclass(frozen=True)
class NodeType:
    """A kind of nodes; `features` names the numbers that an upsert gives one of them."""

    name: str
    features: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.name, "node type")
        _distinct(f"node type {self.name}", self.features)


@dataclass(frozen=True)
class Relation:
    """Edges of one kind, from nodes of type `source` to nodes of type `target`.

    `features` names the numbers that every edge has; `weighted`, each has a weight above 0 too, which is a factor of
    `weighted` draws. Not `directed`, an edge is a neighbour of both its ends alike (source and target are one type);
    directed, either end is found from the other by `direction`.
    """

    name: str
    source: str
    target: str
    features: tuple[str, ...] = ()
    directed: bool = True
    weighted: bool = False

    def __post_init__(self) -> None:
        check_name(self.name, "relation")
        _distinct(f"relation {self.name}", self.features)
        if not self.directed and self.source != self.target:
            raise UserError(
                "not directed, and between two types of nodes",
                where=f"relation {self.name}",
                wanted="source and target of one type, or directed=True",
                got=f"{self.source} and {self.target}",
            )

    @property
    def bipartite(self) -> bool:
        """Whether it is between two types: no node is both a source and a target."""
        return self.source != self.target


def declared(
    nodes: Sequence[NodeType | str | Mapping[str, Any]], relations: Sequence[Relation | Mapping[str, Any]]
) -> tuple[dict[str, NodeType], dict[str, Relation]]:
    """Both by name. Raises `UserError` for a name given twice, and a relation between types that are not there."""
    types = [NodeType(n) if isinstance(n, str) else msgspec.convert(n, NodeType) for n in nodes]
    edges = [msgspec.convert(r, Relation) for r in relations]
    node_types, by_name = {t.name: t for t in types}, {r.name: r for r in edges}
    if len(node_types) < len(types) or len(by_name) < len(edges):
        raise UserError("a name is given twice", where="graph", got=", ".join([*node_types, *by_name]))
    for r in edges:
        for end in (r.source, r.target):
            if end not in node_types:
                wanted = f"one of {', '.join(node_types)}"
                raise UserError("no such node type", where=f"relation {r.name}", wanted=wanted, got=repr(end))
    return node_types, by_name


def _distinct(where: str, names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        raise UserError("a feature is named twice", where=where, got=", ".join(names))
