"""What homogeneous graph networks have in common: layers in a row, plain or residual."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from graph.nn.backend import Backend, Edges, load


class Network(nn.Module):
    """Classes (or values) of nodes: x (S, `inputs`), one `Edges` a layer → (T, `outputs`).

    Plain, as first published: conv, activation and dropout in turn, the last conv gives the outputs.

    With `residual`, h ← h + dropout(act(conv(norm(h)))) between a linear encoder and a linear head, norm being layer
    normalisation, as in Platonov et al., *A critical look at the evaluation of GNNs under heterophily* (ICLR 2023).
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        *,
        layers: int = 2,
        dropout: float = 0.0,
        residual: bool = False,
        backend: Backend | str = "pyg",
    ) -> None:
        super().__init__()
        self.backend = load(backend) if isinstance(backend, str) else backend
        self.dropout, self.residual = nn.Dropout(dropout), residual
        if residual:
            self.encoder, self.head = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
            self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(layers + 1))
            self.convs = nn.ModuleList(self.conv(hidden, hidden, last=False) for _ in range(layers))
        else:
            sizes = [inputs, *[hidden] * (layers - 1), outputs]
            self.convs = nn.ModuleList(
                self.conv(before, after, last=i == layers - 1) for i, (before, after) in enumerate(pairwise(sizes))
            )

    def conv(self, inputs: int, outputs: int, *, last: bool) -> nn.Module:
        """A layer (S, inputs) → (T, outputs)."""
        raise NotImplementedError

    def activation(self, x: Tensor) -> Tensor:
        return torch.relu(x)

    def forward(self, x: Tensor, edges: Sequence[Edges]) -> Tensor:
        if not self.residual:
            for i, (conv, step) in enumerate(zip(self.convs, edges, strict=True)):
                x = conv(self.dropout(x), step)
                if i < len(self.convs) - 1:
                    x = self.activation(x)
            return x
        h = self.dropout(self.activation(self.encoder(x)))
        for conv, norm, step in zip(self.convs, self.norms[:-1], edges, strict=True):
            h = h[: step.n_targets] + self.dropout(self.activation(conv(norm(h), step)))
        out: Tensor = self.head(self.norms[-1](h))
        return out
