"""What graph networks ask of a library of message passing; PyTorch Geometric and DGL answer alike.

A layer is written once, over these five operations, and holds its own weights: so weights of one backend are those of
the other, by the same names. Shapes: E edges, S sources, T targets, H heads, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

import torch
from torch import Tensor

from graph.csr import Block
from tidemill.errors import UserError

BACKENDS = ("pyg", "dgl")


@dataclass(frozen=True)
class Edges:
    """Messages of one layer: from row `sources[i]` of S to row `targets[i]` of T. Target t is source t as well (T ≤ S),
    where both are of one type of node. `features` (E, D) say more of each message; `GATv2` looks at them."""

    sources: Tensor
    targets: Tensor
    n_sources: int
    n_targets: int
    features: Tensor | None = None
    kept: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)
    """What a backend has made of it, by its name."""

    @classmethod
    def of(cls, block: Block) -> Edges:
        """The same memory as tensors."""
        return cls(torch.from_numpy(block.sources), torch.from_numpy(block.targets), block.n_sources, block.n_targets)

    def to(self, device: torch.device | str) -> Edges:
        """The same on another device."""
        features = None if self.features is None else self.features.to(device)
        return Edges(self.sources.to(device), self.targets.to(device), self.n_sources, self.n_targets, features)

    def with_loops(self) -> Edges:
        """With one more message of each target to itself, whose features are the mean of the target's others, or 0;
        kept, so that layers over the same edges share it."""
        if "loops" not in self.kept:
            own = torch.arange(self.n_targets, device=self.targets.device)
            both = torch.cat((self.sources, own)), torch.cat((self.targets, own))
            every = None
            if self.features is not None:
                total = self.features.new_zeros(self.n_targets, self.features.shape[1])
                total.index_add_(0, self.targets, self.features)
                count = torch.bincount(self.targets, minlength=self.n_targets).clamp(min=1)
                every = torch.cat((self.features, total / count[:, None]))
            self.kept["loops"] = Edges(*both, self.n_sources, self.n_targets, every)
        loops: Edges = self.kept["loops"]
        return loops


class Backend(Protocol):
    """Message passing. What a target without messages gets is 0."""

    name: str

    def mean(self, x: Tensor, edges: Edges) -> Tensor:
        """x (S, C) → (T, C): the mean of the sources of each target."""

    def add(self, x: Tensor, y: Tensor, edges: Edges) -> Tensor:
        """x (S, H, C), y (T, H, C) → (E, H, C): x of the source plus y of the target."""

    def dot(self, x: Tensor, y: Tensor, edges: Edges) -> Tensor:
        """x (S, H, C), y (T, H, C) → (E, H): x of the source times y of the target, summed over C."""

    def softmax(self, scores: Tensor, edges: Edges) -> Tensor:
        """scores (E, H) → (E, H): exp(s) over the sum of exp(s) of all messages to the same target."""

    def weigh(self, x: Tensor, weights: Tensor, edges: Edges) -> Tensor:
        """x (S, H, C), weights (E, H) → (T, H, C): the sum of the sources, each times its message's weight."""


def load(name: str = "pyg") -> Backend:
    """The backend `pyg` or `dgl`. Raises `UserError` where no library has that name, or it cannot be loaded."""
    if name not in BACKENDS:
        raise UserError("no such backend of graph networks", wanted=" or ".join(BACKENDS), got=repr(name))
    made: Backend = import_module(f"graph.nn.{name}_backend").make()
    return made
