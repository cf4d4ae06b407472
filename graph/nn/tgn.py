"""Temporal graph networks: a memory of each node, and attention over its recent links."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from graph.link_history import Floats, Ints
from graph.nn.link_stream import LinkDecoder, LinkStream, built, log_rates, rows_of, told_of_links
from graph.nn.recent_links import Said, Told, signs
from tidemill.errors import ConfigError, IncompatibleError


class TimeEncoding(nn.Module):
    """Φ(Δt) = cos(ω log(1 + Δt) + φ), both learned; at first the cosines of `log_rates`. (…) → (…, size).

    With `log` false cos(ω Δt + φ), ω at first from 1 to 10⁻⁸ a second, as published: Xu et al., *Inductive
    representation learning on temporal graphs*, ICLR 2020.
    """

    def __init__(self, size: int, log: bool = True) -> None:
        super().__init__()
        self.log = log
        self.rate = nn.Parameter(log_rates(size) if log else 10.0 ** -torch.linspace(0.0, 8.0, size))
        self.phase = nn.Parameter(torch.zeros(size))

    def forward(self, ago: Tensor) -> Tensor:
        ago = (torch.log1p(ago) if self.log else ago).unsqueeze(-1)
        return torch.cos(ago * self.rate + self.phase)


class TGNNetwork(nn.Module):
    """Memories, then embeddings, then scores.

    The memory of node i after its last message, with features e, which came from node j Δt after the one before:
    sᵢ' = GRU([sⱼ; vⱼ; direction; Φ(Δt); e], sᵢ). With xᵢ = [sᵢ'; vᵢ], the embedding at time t attends over the k most
    recent links, j at tⱼ: zᵢ = FFN([Σⱼ αⱼ V [xⱼ; direction; Φ(t − tⱼ); eⱼ]; xᵢ]), α the softmax of Q xᵢ · K [the
    same].
    """

    def __init__(
        self, memory: int, features: int, time: int, width: int, heads: int, pairs: bool, log: bool, edge: int
    ) -> None:
        super().__init__()
        self.heads = heads
        self.time = TimeEncoding(time, log)
        self.gru = nn.GRUCell(memory + features + 1 + time + edge, memory)
        self.query = nn.Linear(memory + features, width)
        # Of a node once, of a link at each time it is looked at: the sum is the projection of both side by side.
        self.node = nn.Linear(memory + features, 2 * width, bias=False)
        self.link = nn.Linear(time + 1 + edge, 2 * width)
        self.inner, self.outer = nn.Linear(width + memory + features, width), nn.Linear(width, width)
        self.skip = nn.Linear(width + memory + features, width, bias=False)
        self.decoder = LinkDecoder(width, width, 4 * width if pairs else 0)

    def memories(self, told: Mapping[str, Tensor]) -> Tensor:
        """(u, memory): each node's memory with its last message taken in."""
        known = (told["other"], told["partner"], told["role"].unsqueeze(-1), self.time(told["since"]))
        message = torch.cat((*known, told["heard"]), dim=-1)
        return torch.where(told["fresh"].unsqueeze(-1), self.gru(message, told["memory"]), told["memory"])

    def forward(self, told: Mapping[str, Tensor]) -> Tensor:
        x = torch.cat((self.memories(told), told["features"]), dim=-1)
        n, c, k = told["near"].shape
        there = told["near"] > 0
        links = self.link(told_of_links(told, self.time))
        pairs = (links + rows_of(self.node(x), told["near"])).view(n, c, k, 2, self.heads, -1)
        keys, values = pairs[..., 0, :, :], pairs[..., 1, :, :]
        query = rows_of(self.query(x), told["nodes"]).view(n, c, 1, self.heads, -1)
        scores = (query * keys).sum(-1) / keys.shape[-1] ** 0.5
        weights = scores.masked_fill(~there.unsqueeze(-1), -1e9).softmax(2) * there.unsqueeze(-1)
        both = torch.cat(((weights.unsqueeze(-1) * values).sum(2).flatten(2), rows_of(x, told["nodes"])), dim=-1)
        out: Tensor = self.decoder(self.skip(both) + self.outer(F.relu(self.inner(both))), told, links)
        return out


class TGN(LinkStream):
    """Rossi et al., *Temporal graph networks for deep learning on dynamic graphs*, 2020: the memory of a node is a
    function of its links, so it grows with new nodes and is rebuilt from the log.

    As there, a node's last message of a block is taken in when the next block looks at it, so that the loss moves the
    weights of the memory; what is older stands. Nodes have no features here, so they get `signs` for v.
    """

    network: TGNNetwork
    _MEMORY = ("memory", "other", "mate", "role", "since", "fresh", "last", "heard")
    passes = 2

    def __init__(
        self,
        *,
        memory: int = 32,
        time: int = 16,
        width: int = 32,
        heads: int = 2,
        k: int = 10,
        features: int = 64,
        negatives: int = 10,
        strangers: float = 0.1,
        rate: float = 0.002,
        decay: float = 1e-4,
        group: int = 50,
        seed: int = 0,
        frozen: bool = False,
        pairs: bool = True,
        log: bool = True,
        edge: int = 0,
    ) -> None:
        if min(memory, time, width, heads, features) < 1 or width % heads or edge < 0:
            got = f"memory={memory}, time={time}, width={width}, heads={heads}, features={features}, edge={edge}"
            wanted = "sizes from 1, edge from 0, a width that is shared evenly among the heads"
            raise ConfigError("a network of links cannot be built so", where="TGN", wanted=wanted, got=got)
        self.memory, self.time, self.width, self.heads = memory, time, width, heads
        network = built(lambda: TGNNetwork(memory, features, time, width, heads, pairs, log, edge), seed)
        self._rows: dict[str, NDArray[Any]] = {}
        super().__init__(
            network,
            k=k,
            features=features,
            negatives=negatives,
            strangers=strangers,
            rate=rate,
            decay=decay,
            group=group,
            seed=seed,
            frozen=frozen,
            pairs=pairs,
            log=log,
            edge=edge,
        )
        self.reset()

    def reset(self) -> None:
        super().reset()
        one = {"role": np.float32, "since": np.float32, "mate": np.int64, "fresh": np.bool_, "last": np.float64}
        self._rows = {name: np.zeros(1, kind) for name, kind in one.items()}
        wide = {"memory": self.memory, "other": self.memory, "heard": self.edge}
        self._rows |= {name: np.zeros((1, width), np.float32) for name, width in wide.items()}

    def around(self, nodes: Ints, time: Floats) -> Told:
        told = super().around(nodes, time)
        return told | self._memories(told["rows"])

    def _memories(self, rows: Ints) -> Told:
        """The memory of nodes as they stand, and their last messages. Row 0 of `_rows` is that of no node."""
        return {name: array[rows + 1] for name, array in self._rows.items() if name != "last"}

    def _tensors(self, told: Told) -> dict[str, Tensor]:
        partner = torch.from_numpy(signs(told["mate"], self.features, self.seed))
        return super()._tensors(told) | {"partner": partner}

    def remember(self, src: Ints, dst: Ints, time: Floats, said: Said = None) -> None:
        a, b = self.past.add(src, dst, time, said)
        self._grow(self.past.nodes + 1)
        # Of each node its last event of the block: what is written later stays.
        ends, mates = np.stack([a, b], 1).ravel(), np.stack([b, a], 1).ravel()
        nodes, back = np.unique(ends[::-1], return_index=True)
        at = len(ends) - 1 - back
        told = self._memories(nodes)
        with torch.no_grad():
            taken: NDArray[np.float32] = self.network.memories(self._tensors(told | {"rows": nodes})).numpy()
        rows, mates, now = self._rows, mates[at], np.repeat(time, 2)[at]
        rows["memory"][nodes + 1] = taken
        rows["other"][nodes + 1] = rows["memory"][mates + 1]
        if said is not None:
            rows["heard"][nodes + 1] = said[at // 2]
        rows["mate"][nodes + 1], rows["role"][nodes + 1] = mates, 1.0 - at % 2
        known = told["fresh"]
        rows["since"][nodes + 1] = np.where(known, np.maximum(now - rows["last"][nodes + 1], 0.0), 0.0)
        rows["fresh"][nodes + 1], rows["last"][nodes + 1] = True, now

    def _grow(self, needed: int) -> None:
        have = len(self._rows["last"])
        if needed > have:
            more = max(needed, 2 * have) - have
            for name, array in self._rows.items():
                self._rows[name] = np.concatenate([array, np.zeros((more, *array.shape[1:]), array.dtype)])

    def params(self) -> dict[str, Any]:
        names = ("memory", "time", "width", "heads")
        return super().params() | {name: getattr(self, name) for name in names}

    def state(self) -> dict[str, Any]:
        """As of `LinkStream`, and `node.*`: a row of each node in the order of first coming."""
        used = slice(1, self.past.nodes + 1)
        return super().state() | {f"node.{name}": array[used].copy() for name, array in self._rows.items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        missing = [f"node.{name}" for name in self._MEMORY if f"node.{name}" not in state]
        if missing:
            raise IncompatibleError("not a state of this model", where="TGN", wanted=", ".join(missing))
        super().load_state(state)
        self._grow(self.past.nodes + 1)
        for name, array in self._rows.items():
            given = np.asarray(state[f"node.{name}"])
            if given.shape != (self.past.nodes, *array.shape[1:]):
                wanted = str((self.past.nodes, *array.shape[1:]))
                raise IncompatibleError("not a memory of its links", where=f"TGN, node.{name}", wanted=wanted)
            array[1 : self.past.nodes + 1] = given
