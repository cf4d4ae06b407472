"""GATv2: graph attention whose order of neighbours may differ from target to target."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graph.nn.backend import Backend, Edges
from graph.nn.network import Network
from tidemill.errors import UserError


class GATv2Conv(nn.Module):
    """h'ᵢ = Σⱼ αᵢⱼ W₁ hⱼ + b, α = softmaxⱼ aᵀ LeakyReLU(W₁ hⱼ + W₂ hᵢ), over j → i and i itself, by each of the heads.

    x (S, inputs) → (T, outputs): the heads side by side, outputs / heads each; or, with `average`, their mean. With
    `edge` features of each message, W₃ eᵢⱼ is a third summand; that of i itself is the mean of the others.

    Brody, Alon and Yahav, *How attentive are graph attention networks?*, ICLR 2022.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        backend: Backend,
        *,
        heads: int = 8,
        average: bool = False,
        dropout: float = 0.0,
        edge: int = 0,
    ) -> None:
        super().__init__()
        if not average and outputs % heads:
            raise ValueError(f"{outputs} outputs are not shared evenly among {heads} heads")
        self.backend, self.heads, self.average = backend, heads, average
        self.size = outputs if average else outputs // heads
        self.source, self.target = nn.Linear(inputs, heads * self.size), nn.Linear(inputs, heads * self.size)
        self.edge = nn.Linear(edge, heads * self.size, bias=False) if edge else None
        self.attention = nn.Parameter(torch.empty(heads, self.size))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.dropout = nn.Dropout(dropout)
        for weight in (self.source.weight, self.target.weight, self.attention):
            nn.init.xavier_uniform_(weight)
        if self.edge is not None:
            nn.init.xavier_uniform_(self.edge.weight)
        for bias in (self.source.bias, self.target.bias):
            nn.init.zeros_(bias)

    def forward(self, x: Tensor, edges: Edges) -> Tensor:
        told = 0 if edges.features is None else edges.features.shape[1]
        if self.edge is not None and told != self.edge.in_features:
            raise UserError(
                "messages without the features that the layer looks at",
                where="GATv2Conv",
                wanted=f"Edges.features of {self.edge.in_features} columns",
                got=f"{told} columns",
            )
        edges = edges.with_loops()
        sources = self.source(x).view(-1, self.heads, self.size)
        targets = self.target(x[: edges.n_targets]).view(-1, self.heads, self.size)
        both = self.backend.add(sources, targets, edges)
        if self.edge is not None and edges.features is not None:
            both = both + self.edge(edges.features).view(-1, self.heads, self.size)
        scores = (F.leaky_relu(both, 0.2) * self.attention).sum(-1)
        weights = self.dropout(self.backend.softmax(scores, edges))
        out = self.backend.weigh(sources, weights, edges)
        return (out.mean(1) if self.average else out.flatten(1)) + self.bias


class GATv2(Network):
    """`GATv2Conv` in layers with ELU between them, dropout of weights too; a last, plain layer averages its heads.
    `edge`: how many features of a message each layer looks at."""

    heads, attention_dropout, edge = 8, 0.0, 0

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        *,
        heads: int = 8,
        attention_dropout: float = 0.0,
        edge: int = 0,
        **options: object,
    ) -> None:
        self.heads, self.attention_dropout, self.edge = heads, attention_dropout, edge
        super().__init__(inputs, hidden, outputs, **options)  # type: ignore[arg-type]

    def conv(self, inputs: int, outputs: int, *, last: bool) -> nn.Module:
        heads, dropout = 1 if last else self.heads, self.attention_dropout
        return GATv2Conv(inputs, outputs, self.backend, heads=heads, average=last, dropout=dropout, edge=self.edge)

    def activation(self, x: Tensor) -> Tensor:
        return F.elu(x)
