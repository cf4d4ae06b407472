"""Message passing by DGL (Wang et al., *Deep Graph Library*, 2019)."""

from __future__ import annotations

import os
import sys
import types
import warnings
from typing import Any

import torch
from torch import Tensor

from graph.nn.backend import Backend, Edges
from tidemill.errors import UserError


class DGL:
    """See `graph.nn.backend.Backend`. Sums are sparse products: no message is stored but where a layer needs it."""

    name = "dgl"

    def __init__(self, library: Any) -> None:
        self._dgl = library

    def mean(self, x: Tensor, edges: Edges) -> Tensor:
        block = self._block(edges)
        total: Tensor = self._dgl.ops.copy_u_sum(block, x)
        out: Tensor = total / block.in_degrees().clamp(min=1).to(x.dtype).unsqueeze(-1)
        return out

    def add(self, x: Tensor, y: Tensor, edges: Edges) -> Tensor:
        out: Tensor = self._dgl.ops.u_add_v(self._block(edges), x, y)
        return out

    def dot(self, x: Tensor, y: Tensor, edges: Edges) -> Tensor:
        out: Tensor = self._dgl.ops.u_dot_v(self._block(edges), x, y)
        return out.squeeze(-1)

    def softmax(self, scores: Tensor, edges: Edges) -> Tensor:
        out: Tensor = self._dgl.ops.edge_softmax(self._block(edges), scores)
        return out

    def weigh(self, x: Tensor, weights: Tensor, edges: Edges) -> Tensor:
        out: Tensor = self._dgl.ops.u_mul_e_sum(self._block(edges), x, weights.unsqueeze(-1))
        return out

    def _block(self, edges: Edges) -> Any:
        if self.name not in edges.kept:
            edges.kept[self.name] = self._dgl.create_block(
                (edges.sources, edges.targets), num_src_nodes=edges.n_sources, num_dst_nodes=edges.n_targets
            )
        return edges.kept[self.name]


def make() -> Backend:
    # Else it writes a file into the user's home, and says so.
    os.environ.setdefault("DGLBACKEND", "pytorch")
    # Its second way of sampling is compiled for torch 2.2 at most and would end the import; nothing here uses it.
    if stub := "dgl" not in sys.modules:
        sys.modules.setdefault("dgl.graphbolt", types.ModuleType("dgl.graphbolt"))
    try:
        with warnings.catch_warnings():
            # Escapes in its texts that Python 3.11 calls old, and torch.jit.
            warnings.simplefilter("ignore")
            import dgl
    except (ImportError, OSError) as error:
        if stub:
            sys.modules.pop("dgl.graphbolt", None)
        raise UserError(
            "DGL cannot be loaded",
            where=f"graph.nn, backend dgl, Python {sys.version.split()[0]}, torch {torch.__version__}",
            wanted="dgl 2.1.0",
            got=str(error),
            fix='make torch; or backend="pyg", which takes the same weights',
        ) from error
    return DGL(dgl)
