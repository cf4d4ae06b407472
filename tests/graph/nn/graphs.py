"""Small graphs for tests of networks."""

import torch

from graph.nn.backend import Edges
from graph.nn.hgt import HeteroEdges

RELATIONS = [("user", "pays", "shop"), ("shop", "owned", "user"), ("user", "knows", "user")]
SIZES = {"user": 6, "shop": 4}


def edges(n_sources: int, n_targets: int, seed: int = 0) -> Edges:
    """Random ones; the last target gets none."""
    generator = torch.Generator().manual_seed(seed)
    count = 3 * n_targets
    sources = torch.randint(n_sources, (count,), generator=generator)
    targets = torch.randint(n_targets - 1, (count,), generator=generator)
    return Edges(sources, targets, n_sources, n_targets)


def two_layers() -> list[Edges]:
    return [edges(20, 12, 1), edges(12, 6, 2)]


def two_typed_layers() -> tuple[dict[str, torch.Tensor], list[HeteroEdges]]:
    """Features by type, and layers of 20 → 12 → 6 users and 15 → 9 → 5 shops."""
    torch.manual_seed(3)
    counts = {"user": [20, 12, 6], "shop": [15, 9, 5]}
    layers = [
        HeteroEdges(
            {(s, name, t): edges(counts[s][i], counts[t][i + 1], i) for s, name, t in RELATIONS},
            {kind: count[i + 1] for kind, count in counts.items()},
        )
        for i in range(2)
    ]
    return {kind: torch.randn(counts[kind][0], SIZES[kind]) for kind in SIZES}, layers
