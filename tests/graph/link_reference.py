"""Draws and ranks of links in whole numbers of Python: what the compiled ones must equal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graph.link_history import NODES, OUT, PAIRS, RING, LinkHistory
from graph.link_model import STRANGER
from graph.link_network import layers

FULL = (1 << 64) - 1


def mixed(x: int) -> int:
    """splitmix64's step."""
    z = (x + 0x9E3779B97F4A7C15) & FULL
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & FULL
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & FULL
    return z ^ (z >> 31)


def bits(seed: int, event: int, draw: int) -> int:
    place = seed * 0xD1342543DE82EF95 + (event - 1) * 0x9E3779B97F4A7C15 + draw * 0xBF58476D1CE4E5B9
    return mixed(place & FULL) >> 1


def drawn(
    past: LinkHistory, src: int, dst: int, seed: int, event: int, count: int, historical: int = 0, strange: float = 0.0
) -> list[int]:
    """The nodes drawn beside `dst`: the first from the source's last destinations, the others from all seen; of a
    bipartite past from the other destinations seen, the last of them standing where `dst` is."""
    names = past.arrays.node_id[: past.arrays.size[NODES]].tolist()
    pool = list(names)
    if past.bipartite:
        pairs = past.arrays.pair_key[: past.arrays.size[PAIRS]].tolist()
        pool = list(dict.fromkeys(names[key & 0xFFFFFFFF] for key in pairs))
        if dst in pool:
            pool[pool.index(dst)] = pool[-1]
            pool.pop()
    out = []
    for i in range(count):
        one, random = STRANGER, bits(seed, event, i)
        sent = int(past.arrays.node_count[names.index(src), OUT]) if src in names else 0
        if i < historical and sent:
            one = names[past.arrays.ring_node[names.index(src), OUT, random % min(sent, RING)]]
        elif pool and random & 0xFFFFF >= strange * 0x100000:
            one = pool[(random >> 20) % len(pool)]
        out.append(STRANGER if one == dst else one)
    return out


def asked_event(src: int, dst: int) -> int:
    """The number by which the draws of a question are made."""
    return mixed((src * 0x9E3779B97F4A7C15 + dst) & FULL) >> 2


def rank(scores: Sequence[Any]) -> float:
    """The mean rank of the first, from 1."""
    first, *others = scores
    return 1.0 + sum(s > first for s in others) + 0.5 * sum(s == first for s in others)


def share(scores: Any) -> float:
    """The softmax of the first."""
    odds = np.exp(np.asarray(scores, np.float64) - float(np.max(scores)))
    return float(odds[0] / odds.sum())


def scored(weights: Any, X: Any) -> Any:
    """The network's scores of rows, in float64."""
    W1, b1, W2, b2, w3 = (part.astype(np.float64) for part in layers(weights, X.shape[1]))
    return np.maximum(np.maximum(X.astype(np.float64) @ W1 + b1, 0) @ W2 + b2, 0) @ w3
