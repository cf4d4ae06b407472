"""Message passing by PyTorch Geometric (Fey and Lenssen, *Fast graph representation learning with PyTorch Geometric*,
ICLR workshop 2019)."""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor

from graph.nn.backend import Backend, Edges
from tidemill.errors import UserError


class PyG:
    """See `graph.nn.backend.Backend`. Messages are gathered edge by edge: memory is E × C."""

    name = "pyg"

    def __init__(self, utils: Any) -> None:
        self._utils = utils

    def mean(self, x: Tensor, edges: Edges) -> Tensor:
        out: Tensor = self._utils.scatter(x[edges.sources], edges.targets, 0, edges.n_targets, reduce="mean")
        return out

    def add(self, x: Tensor, y: Tensor, edges: Edges) -> Tensor:
        return x[edges.sources] + y[edges.targets]

    def dot(self, x: Tensor, y: Tensor, edges: Edges) -> Tensor:
        return (x[edges.sources] * y[edges.targets]).sum(-1)

    def softmax(self, scores: Tensor, edges: Edges) -> Tensor:
        out: Tensor = self._utils.softmax(scores, edges.targets, num_nodes=edges.n_targets)
        return out

    def weigh(self, x: Tensor, weights: Tensor, edges: Edges) -> Tensor:
        messages = x[edges.sources] * weights.unsqueeze(-1)
        out: Tensor = self._utils.scatter(messages, edges.targets, 0, edges.n_targets, reduce="sum")
        return out


def make() -> Backend:
    try:
        with warnings.catch_warnings():
            # It compiles by torch.jit, which torch 2.13 calls old.
            warnings.simplefilter("ignore")
            from torch_geometric import utils
    except ImportError as error:
        raise UserError(
            "PyTorch Geometric cannot be loaded", where="graph.nn, backend pyg", got=str(error), fix="make torch"
        ) from error
    return PyG(utils)
