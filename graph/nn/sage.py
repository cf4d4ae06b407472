"""GraphSAGE with mean aggregation."""

from __future__ import annotations

from torch import Tensor, nn

from graph.nn.backend import Backend, Edges
from graph.nn.network import Network


class SAGEConv(nn.Module):
    """h'ᵢ = W₁ hᵢ + W₂ mean {hⱼ : j → i} + b; x (S, inputs) → (T, outputs).

    Hamilton, Ying and Leskovec, *Inductive representation learning on large graphs*, NeurIPS 2017.
    """

    def __init__(self, inputs: int, outputs: int, backend: Backend) -> None:
        super().__init__()
        self.backend = backend
        self.own = nn.Linear(inputs, outputs, bias=False)
        self.neighbours = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor, edges: Edges) -> Tensor:
        out: Tensor = self.own(x[: edges.n_targets]) + self.neighbours(self.backend.mean(x, edges))
        return out


class GraphSAGE(Network):
    """`SAGEConv` in layers; see `Network`."""

    def conv(self, inputs: int, outputs: int, *, last: bool) -> nn.Module:
        return SAGEConv(inputs, outputs, self.backend)
