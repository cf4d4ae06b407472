"""What a graph is made of: node types, and relations between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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

    `features` names the numbers that every edge has. Not `directed`, an edge is a neighbour of both its ends alike
    (source and target are one type); directed, either end is found from the other by `direction`.
    """

    name: str
    source: str
    target: str
    features: tuple[str, ...] = ()
    directed: bool = True

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


def _distinct(where: str, names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        raise UserError("a feature is named twice", where=where, got=", ".join(names))
