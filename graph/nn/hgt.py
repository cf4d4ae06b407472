"""The heterogeneous graph transformer: several types of nodes and relations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graph.nn.backend import Backend, Edges, load

Relation = tuple[str, str, str]
"""Type of the sources, name, type of the targets."""


@dataclass(frozen=True)
class HeteroEdges:
    """Messages of one layer by relation, and how many of each type's rows, the first ones, are targets."""

    relations: Mapping[Relation, Edges]
    n_targets: Mapping[str, int]

    def to(self, device: torch.device | str) -> HeteroEdges:
        """The same on another device."""
        return HeteroEdges({name: edges.to(device) for name, edges in self.relations.items()}, self.n_targets)


class HGTConv(nn.Module):
    """h'ᵢ = σ(s) W gelu(Σⱼ αᵢⱼ M hⱼᵛ) + (1 − σ(s)) hᵢ, α = softmaxⱼ μ (A hⱼᵏ)ᵀ hᵢ^q / √C, over all relations to i.

    Key, query, value, W and s are of the type of node; A, M (heads of C × C) and μ of the relation. x by type
    (S, size) → (T, size) by type. A node without messages, or of a type that gets none, has Σ = 0.

    Hu, Dong, Wang and Sun, *Heterogeneous graph transformer*, WWW 2020.
    """

    def __init__(
        self, size: int, types: Sequence[str], relations: Sequence[Relation], backend: Backend, *, heads: int = 4
    ) -> None:
        super().__init__()
        if size % heads:
            raise ValueError(f"size {size} is not shared evenly among {heads} heads")
        self.backend, self.heads, self.size = backend, heads, size // heads

        def linear() -> nn.ModuleDict:
            return nn.ModuleDict({name_of(kind): nn.Linear(size, size) for kind in types})

        self.key, self.query, self.value, self.out = linear(), linear(), linear(), linear()
        self.skip = nn.ParameterDict({name_of(kind): nn.Parameter(torch.ones(())) for kind in types})
        names = {name_of(*relation) for relation in relations}
        square = (heads, self.size, self.size)
        self.attention = nn.ParameterDict({name: nn.Parameter(torch.empty(square)) for name in sorted(names)})
        self.message = nn.ParameterDict({name: nn.Parameter(torch.empty(square)) for name in sorted(names)})
        self.prior = nn.ParameterDict({name: nn.Parameter(torch.ones(heads)) for name in sorted(names)})
        for weight in (*self.attention.values(), *self.message.values()):
            nn.init.xavier_uniform_(weight)

    def forward(self, x: Mapping[str, Tensor], layer: HeteroEdges) -> dict[str, Tensor]:
        out = {}
        for kind, count in layer.n_targets.items():
            before = x[kind][:count]
            name = name_of(kind)
            new = self.out[name](F.gelu(self._gathered(kind, before, x, layer)))
            share = self.skip[name].sigmoid()
            out[kind] = share * new + (1 - share) * before
        return out

    def _gathered(self, kind: str, targets: Tensor, x: Mapping[str, Tensor], layer: HeteroEdges) -> Tensor:
        """(T, size): what nodes of type `kind` are told. The relations' sources stand below each other, so that one
        softmax goes over all of them."""
        mine = {relation: edges for relation, edges in layer.relations.items() if relation[2] == kind}
        if not mine or not len(targets):
            return torch.zeros_like(targets)
        keys, values, sources, aims, at = [], [], [], [], 0
        for relation, edges in mine.items():
            name, source, rows = name_of(*relation), name_of(relation[0]), x[relation[0]]
            key, value = (each[source](rows).view(-1, self.heads, self.size) for each in (self.key, self.value))
            scale = (self.prior[name] / self.size**0.5).view(1, -1, 1)
            keys.append(torch.einsum("nhc,hcd->nhd", key, self.attention[name]) * scale)
            values.append(torch.einsum("nhc,hcd->nhd", value, self.message[name]))
            sources.append(edges.sources + at)
            aims.append(edges.targets)
            at += len(rows)
        every = Edges(torch.cat(sources), torch.cat(aims), at, len(targets))
        query = self.query[name_of(kind)](targets).view(-1, self.heads, self.size)
        weights = self.backend.softmax(self.backend.dot(torch.cat(keys), query, every), every)
        return self.backend.weigh(torch.cat(values), weights, every).flatten(1)


class HGT(nn.Module):
    """Classes (or values) of the nodes of type `target`: x by type (S, inputs[type]) → (T, outputs).

    A linear encoder of each type, relu, `HGTConv` in layers, a linear head.
    """

    def __init__(
        self,
        inputs: Mapping[str, int],
        relations: Sequence[Relation],
        target: str,
        hidden: int,
        outputs: int,
        *,
        layers: int = 2,
        heads: int = 4,
        backend: Backend | str = "pyg",
    ) -> None:
        super().__init__()
        self.backend = load(backend) if isinstance(backend, str) else backend
        self.target = target
        self.encoder = nn.ModuleDict({name_of(kind): nn.Linear(size, hidden) for kind, size in inputs.items()})
        self.convs = nn.ModuleList(
            HGTConv(hidden, list(inputs), relations, self.backend, heads=heads) for _ in range(layers)
        )
        self.head = nn.Linear(hidden, outputs)

    def forward(self, x: Mapping[str, Tensor], layers: Sequence[HeteroEdges]) -> Tensor:
        h = {kind: torch.relu(self.encoder[name_of(kind)](rows)) for kind, rows in x.items()}
        for conv, layer in zip(self.convs, layers, strict=True):
            h = conv(h, layer)
        out: Tensor = self.head(h[self.target])
        return out


def name_of(*words: str) -> str:
    """A type of node, or a relation, in the name of a parameter: torch has no dots there, nor names of its own like
    `train`, and `a__b` and `c` are another relation than `a` and `b__c`."""
    return "".join(":" + word.replace("%", "%25").replace(":", "%3A").replace(".", "%2E") for word in words)
