"""Training networks to classify the nodes of a graph that stands still, in sampled batches."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from graph.adjacency import Int
from graph.csr import Batch, CSRGraph
from graph.nn.backend import Edges
from graph.nn.network import Network
from tidemill.errors import UserError

Floats = NDArray[np.float32]
Score = Callable[[Int, Floats], float]
"""How good outputs (n, outputs) are for labels (n,); higher is better."""


@dataclass(frozen=True)
class Training:
    """How a network is trained: Adam on batches of `batch` nodes, `fanout` neighbours of each in every layer; weights
    decay by themselves (AdamW), or with `decoupled` false by their share of the gradient, as the first networks did.

    With `one_cycle` the rate rises to `rate` and falls to nothing (Smith and Topin, *Super-convergence*, 2017), else it
    stays. Every `check` epochs the validation nodes are scored with all their neighbours, and the best weights stay.
    """

    epochs: int
    rate: float
    fanout: int = 10
    batch: int = 512
    weight_decay: float = 0.01
    decoupled: bool = True
    one_cycle: bool = False
    check: int = 5
    seed: int = 0


@dataclass(frozen=True)
class Fit:
    """Which epoch's weights stayed, how good they were for the validation nodes, and the wall time of it all."""

    epoch: int
    validation: float
    seconds: float


def fit(
    network: Network, graph: CSRGraph, x: Floats, y: Int, train: Int, validation: Int, score: Score, how: Training
) -> Fit:
    """Train `network` on the nodes `train`; x (n, inputs), y (n,) classes, or 0 and 1 where the network has one output.

    Labels of other nodes than `train` and `validation` are not looked at. On one thread (`torch.set_num_threads(1)`,
    `torch.use_deterministic_algorithms(True)`) the same seeds give the same bytes. Raises `UserError` where there is
    nothing to train on or to choose by, or where no validation score is a number.
    """
    for name, nodes in (("training", train), ("validation", validation)):
        if not len(nodes):
            raise UserError(f"no {name} nodes", where="graph.nn.nodes.fit", wanted="at least one")
    start = time.perf_counter()
    torch.manual_seed(how.seed)
    order, features = np.random.default_rng(how.seed), torch.from_numpy(x)
    steps = how.epochs * -(-len(train) // how.batch)
    kind = torch.optim.AdamW if how.decoupled else torch.optim.Adam
    optimiser = kind(network.parameters(), lr=how.rate, weight_decay=how.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, how.rate, steps) if how.one_cycle else None
    best, kept = Fit(-1, -np.inf, 0.0), {}
    for epoch in range(how.epochs):
        network.train()
        nodes = order.permutation(train)
        for at in range(0, len(nodes), how.batch):
            few = nodes[at : at + how.batch]
            # Another epoch draws other neighbours.
            batch = graph.sample(few, [how.fanout] * len(network.convs), seed=how.seed * how.epochs + epoch)
            optimiser.zero_grad()
            scores = network(features[torch.from_numpy(batch.nodes)], edges_of(batch))
            torch.autograd.backward(_loss(scores, y[few]))
            optimiser.step()
            if schedule:
                schedule.step()
        if (epoch + 1) % how.check == 0 or epoch + 1 == how.epochs:
            now = score(y[validation], outputs(network, graph, x)[validation])
            if now > best.validation:
                best, kept = Fit(epoch, now, 0.0), _copy(network)
    if not kept:
        raise UserError(
            "no validation score is a number",
            where="graph.nn.nodes.fit",
            wanted="a finite score after some epoch",
            got=str(now),
            fix="Look for features that are not finite, or take a smaller rate.",
        )
    network.load_state_dict(kept)
    return Fit(best.epoch, best.validation, time.perf_counter() - start)


def outputs(network: Network, graph: CSRGraph, x: Floats) -> Floats:
    """(n, outputs): what `network` says of every node, with all its neighbours; nothing is drawn."""
    network.eval()
    with torch.no_grad():
        out: Floats = network(torch.from_numpy(x), edges_of(graph.whole(len(network.convs)))).numpy()
    return out


def edges_of(batch: Batch) -> list[Edges]:
    """The blocks of a batch for a network: the same memory. A block that comes again is made once."""
    made: dict[int, Edges] = {}
    return [made.setdefault(id(block), Edges.of(block)) for block in batch.blocks]


def _loss(out: Tensor, labels: Int) -> Tensor:
    wanted = torch.from_numpy(labels)
    if out.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(out.squeeze(1), wanted.to(out.dtype))
    return F.cross_entropy(out, wanted)


def _copy(network: Network) -> dict[str, Any]:
    return {name: weight.clone() for name, weight in network.state_dict().items()}
