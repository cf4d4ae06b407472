"""Networks that predict links and are trained in stream order: what `TGN` and `GraphMixer` share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from graph.link_features import queries
from graph.link_history import Floats, Ints, edges
from graph.nn.recent_links import RecentLinks, Said, Told, join, negatives, signs
from tidemill.errors import ConfigError, IncompatibleError, UserError

CHUNK = 50
"""Events scored at once, of so many that the memory of what is in between stays small."""


def log_rates(size: int) -> Tensor:
    """ω = 0, π/20, 2π/20, …: the cosines of ω log(1 + Δt) are a basis up to Δt = e²⁰ seconds, 15 years."""
    return torch.arange(size, dtype=torch.float32) * (torch.pi / 20.0)


def rows_of(x: Tensor, places: Tensor) -> Tensor:
    """x (u, C) at places (…) → (…, C). Its gradient sums in order, where that of `x[places]` sorts first."""
    return x.index_select(0, places.flatten()).view(*places.shape, -1)


def told_of_links(told: Mapping[str, Tensor], time: nn.Module) -> Tensor:
    """(n, c, k, 1 + time + edge) of each link looked at: direction, encoded age, and its features."""
    said = [told["said"]] if "said" in told else []
    return torch.cat((told["out"].unsqueeze(-1), time(told["ago"]), *said), dim=-1)


def between(told: Mapping[str, Tensor], links: Tensor) -> Tensor:
    """Of links (n, 1 + m, k, C), as `near` has them, the sums (n, m, 2 C) of those that the source had with each
    candidate: of the source's k, then of the candidate's."""
    nodes, near = told["nodes"], told["near"]
    there = (near > 0).to(links.dtype)
    mine = (near[:, :1] == nodes[:, 1:, None]).to(links.dtype) * there[:, :1]
    theirs = (near[:, 1:] == nodes[:, :1, None]).to(links.dtype) * there[:, 1:]
    return torch.cat((mine @ links[:, 0], (theirs.unsqueeze(2) @ links[:, 1:]).squeeze(2)), dim=-1)


class LinkDecoder(nn.Module):
    """Scores (n, m) of z (n, 1 + m, C), a source's and its candidates': a network of one hidden layer over both. With
    `pair`, of that size, also over the product of the two and what was `between` them (n, m, pair).

    Without, as published, it is not told whether two nodes had to do with one another but by their embeddings. Source
    of the pair: Yu et al., *Towards better dynamic graph learning*, NeurIPS 2023, who count how often each is among
    the other's neighbours.
    """

    def __init__(self, inputs: int, hidden: int, pair: int = 0) -> None:
        super().__init__()
        self.source, self.target = nn.Linear(inputs, hidden), nn.Linear(inputs, hidden, bias=False)
        self.pair = nn.Linear(inputs + pair, hidden, bias=False) if pair else None
        self.last = nn.Linear(hidden, 1)

    def forward(self, z: Tensor, told: Mapping[str, Tensor], links: Tensor) -> Tensor:
        source, targets = z[:, :1], z[:, 1:]
        hidden = self.source(source) + self.target(targets)
        if self.pair is not None:
            hidden = hidden + self.pair(torch.cat((source * targets, between(told, links)), dim=-1))
        out: Tensor = self.last(F.relu(hidden)).squeeze(-1)
        return out


class LinkStream:
    """A network of links by softmax loss against seeded negatives, with the past as of each event from a
    `TemporalGraph`.

    `score` answers from the links learned so far, and of these neighbours only from those strictly before the time
    asked about. `learn` takes a block in stream order: each of its links is learned from the past as it stood when the
    block began, and then the whole block becomes past. So the block is part of the meaning (one event: causal; 200:
    stale). Weights move after every `group` events; what was learned from but did not move them yet is part of the
    state. `frozen` stops the weights; the past still grows.

    On one thread, with `torch.use_deterministic_algorithms(True)`, the same blocks give the same bytes, from a restored
    state too. Times are seconds; ids are open.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        k: int,
        features: int,
        negatives: int,
        strangers: float,
        rate: float,
        decay: float,
        group: int,
        seed: int,
        frozen: bool,
        pairs: bool,
        log: bool,
        edge: int,
    ) -> None:
        if min(k, features, negatives, group) < 1 or edge < 0 or not 0.0 <= strangers <= 1.0 or not 0.0 < rate < 1.0:
            raise ConfigError(
                "a network of links cannot be built so",
                where=type(self).__name__,
                wanted="k, features, negatives and group from 1, edge from 0, a share of strangers, a rate in (0, 1)",
                got=f"k={k}, features={features}, negatives={negatives}, group={group}, edge={edge}, "
                f"strangers={strangers}, rate={rate}",
            )
        self.k, self.features, self.negatives, self.strangers = k, features, negatives, float(strangers)
        self.rate, self.decay, self.group, self.seed, self.frozen = float(rate), float(decay), group, seed, frozen
        self.pairs, self.log, self.edge, self.past = pairs, log, edge, RecentLinks(k, edge)
        self.network = network
        self._adam = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay, foreach=True)
        self._pending: list[Told] = []
        self._counts = np.zeros(2, np.int64)

    def score(self, src: ArrayLike, candidates: ArrayLike, time: ArrayLike) -> NDArray[np.float32]:
        """Scores of `src[i]` → `candidates[i, j]` at `time[i]`, shape (n, m): higher is likelier. Nodes never seen
        tie."""
        src, candidates, time = queries(src, candidates, time)
        nodes = self.past.numbers(np.column_stack([src, candidates]))
        out = np.empty(candidates.shape, np.float32)
        for low in range(0, len(src), CHUNK):
            part = slice(low, low + CHUNK)
            out[part] = self.asked(self.around(nodes[part], time[part]))
        # By the library's sums, equal rows can differ in the last bit.
        for row, strange in zip(out, nodes[:, 1:] < 0, strict=True):
            row[strange] = row[strange][:1]
        return out

    def asked(self, told: Told) -> NDArray[np.float32]:
        """The network's scores of what it is told, (n, m)."""
        with torch.no_grad():
            scores: NDArray[np.float32] = self.network(self._tensors(told)).numpy()
        return scores

    def learn(self, src: ArrayLike, dst: ArrayLike, time: ArrayLike, said: ArrayLike | None = None) -> None:
        """Learn from a block of links, with features `said` (n, edge) where they have any; see the class."""
        self._learn(*edges(src, dst, time), self.rate, self._said(said, np.shape(src)))

    def follow(self, src: int, candidates: Ints, time: float, said: ArrayLike | None = None) -> NDArray[np.float32]:
        """Of one event, whose destination is the first of its 1 + `negatives` candidates, the scores of all of them
        from what was before it; then it is learned against the others. What is `said` of it (1, edge) is past to
        later ones alone."""
        nodes = self.past.numbers(np.concatenate([[src], candidates]))[None, :]
        when = np.array([time])
        told = self.around(nodes, when)
        scores: NDArray[np.float32] = self.asked(told)[0]
        scores[nodes[0, 1:] < 0] = scores[nodes[0, 1:] < 0][:1]
        if not self.frozen:
            self._pending.append(told)
            self._counts[0] += 1
            if sum(len(waiting["nodes"]) for waiting in self._pending) >= self.group:
                self._step(self.rate)
        self.remember(np.array([src]), candidates[:1], when, self._said(said, (1,)))
        return scores

    def fit(
        self,
        src: ArrayLike,
        dst: ArrayLike,
        time: ArrayLike,
        said: ArrayLike | None = None,
        *,
        block: int,
        passes: int | None = None,
    ) -> None:
        """Learn from links in blocks of `block`, from an empty past, `passes` times over with other negatives, at twice
        the rate and slower with each pass."""
        src, dst, time = edges(src, dst, time)
        told = self._said(said, np.shape(src))
        passes = self.passes if passes is None else passes
        for done in range(passes):
            self.reset()
            for low in range(0, len(src), block):
                part = slice(low, low + block)
                some = None if told is None else told[part]
                self._learn(src[part], dst[part], time[part], 2.0 * self.rate * (1.0 - 0.7 * done / passes), some)

    passes = 3
    """Of `fit`, unless it is told otherwise."""

    def reset(self) -> None:
        """Forget every link, and keep the weights."""
        self.past.reset()
        self._pending = []

    def around(self, nodes: Ints, time: Floats) -> Told:
        """What the network is told of `nodes` (n, c) at `time` (n,): of each event its source, then candidates."""
        return self.past.around(nodes, time)

    def remember(self, src: Ints, dst: Ints, time: Floats, said: Said = None) -> None:
        """Take a block of links into the past."""
        self.past.add(src, dst, time, said)

    def _said(self, said: ArrayLike | None, shape: tuple[int, ...]) -> Said:
        """Features as they are taken. Raises `UserError` where they are not those that the links have."""
        given = None if said is None else np.asarray(said, np.float32)
        wanted, got = (*shape, self.edge), () if given is None else given.shape
        if self.edge == 0 and (given is None or got == wanted):
            return None
        if given is None or got != wanted or not np.isfinite(given).all():
            what = "none" if given is None else "what is not finite" if got == wanted else str(got)
            where = f"{type(self).__name__}, features of links"
            raise UserError("not the features that links have", where=where, wanted=f"finite ones {wanted}", got=what)
        return given

    def _learn(self, src: Ints, dst: Ints, time: Floats, rate: float, said: Said) -> None:
        if not self.frozen:
            ends = self.past.numbers(np.column_stack([src, dst]))
            for low in range(0, len(src), self.group):
                some = ends[low : low + self.group]
                against = negatives(
                    some[:, 1],
                    self.past.nodes,
                    self.negatives,
                    strangers=self.strangers,
                    seed=self.seed,
                    event=int(self._counts[0]),
                )
                self._pending.append(self.around(np.column_stack([some, against]), time[low : low + self.group]))
                self._counts[0] += len(some)
                if sum(len(told["nodes"]) for told in self._pending) >= self.group:
                    self._step(rate)
        self.remember(src, dst, time, said)

    def _step(self, rate: float) -> None:
        told, self._pending = join(self._pending), []
        self._adam.param_groups[0]["lr"] = rate
        self._adam.zero_grad()
        out = self.network(self._tensors(told))
        torch.autograd.backward(F.cross_entropy(out, torch.zeros(len(out), dtype=torch.int64)))
        self._adam.step()
        self._counts[1] += 1

    def _tensors(self, told: Told) -> dict[str, Tensor]:
        tensors = {name: torch.from_numpy(array) for name, array in told.items()}
        return tensors | {"features": torch.from_numpy(signs(told["rows"], self.features, self.seed))}

    def params(self) -> dict[str, Any]:
        names = (
            "k",
            "features",
            "negatives",
            "strangers",
            "rate",
            "decay",
            "group",
            "seed",
            "frozen",
            "pairs",
            "log",
            "edge",
        )
        return {name: getattr(self, name) for name in (*names, "pairs", "log", "edge")}

    def state(self) -> dict[str, Any]:
        """Arrays by name: `weight.*`, Adam's `mean.*` and `square.*`, `counts` (events, steps), `link.*` (the log, in
        the order of coming) and `pending.*` (of the events that did not move the weights yet)."""
        named = {"counts": self._counts.copy()}
        for name, weight in self.network.named_parameters():
            kept = self._adam.state.get(weight, {})
            named[f"weight.{name}"] = weight.detach().numpy().copy()
            for ours, theirs in (("mean", "exp_avg"), ("square", "exp_avg_sq")):
                named[f"{ours}.{name}"] = (kept[theirs] if kept else torch.zeros_like(weight)).detach().numpy().copy()
        told = join(self._pending) if self._pending else {}
        return named | _prefixed("link", self.past.state()) | _prefixed("pending", told)

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave. Raises `IncompatibleError` where the arrays are not those of such a model."""
        weights = dict(self.network.named_parameters())
        own = {f"{what}.{n}": tuple(w.shape) for n, w in weights.items() for what in ("weight", "mean", "square")}
        own |= {"counts": (2,)}
        got = {name: np.shape(state[name]) for name in own if name in state}
        links = ("source", "target", "time", *(("said",) if self.edge else ()))
        lost = [f"link.{name}" for name in links if f"link.{name}" not in state]
        if got != own or lost:
            wrong = {name: shape for name, shape in own.items() if got.get(name) != shape}
            wanted = ", ".join([*(f"{name} {shape}" for name, shape in wrong.items()), *lost])
            come = str({name: got[name] for name in wrong if name in got})
            raise IncompatibleError("not a state of this model", where=type(self).__name__, wanted=wanted, got=come)
        self.reset()
        self._counts = np.array(state["counts"], np.int64)
        self.past.load_state(_without("link", state))
        self._pending = self._waiting(_without("pending", state))
        self._adam.state.clear()
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(_tensor(state[f"weight.{name}"]))
                if self._counts[1]:
                    kept = {"exp_avg": _tensor(state[f"mean.{name}"]), "exp_avg_sq": _tensor(state[f"square.{name}"])}
                    self._adam.state[weight] = {"step": torch.tensor(float(self._counts[1])), **kept}

    def _waiting(self, pending: Told) -> list[Told]:
        """Of a state, what waits for a step."""
        if not pending:
            return []
        nobody = self.around(np.full((1, 2 + self.negatives), -1), np.zeros(1))
        wanted = {name: np.shape(array)[1:] for name, array in nobody.items()}
        if (got := {name: np.shape(array)[1:] for name, array in pending.items()}) != wanted:
            where = f"{type(self).__name__}, pending"
            raise IncompatibleError("not a state of this model", where=where, wanted=str(wanted), got=str(got))
        return [pending]

    def __deepcopy__(self, memo: dict[int, Any]) -> LinkStream:
        """By way of the state, as after a restart; a graph has locks, which cannot be copied."""
        made = type(self)(**self.params())
        made.load_state(self.state())
        return made


def built(make: Any, seed: int) -> nn.Module:
    """`make()`, with first weights that are a function of `seed`, and torch's own generator left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = make()
    return network


def _prefixed(what: str, arrays: Told) -> Told:
    return {f"{what}.{name}": array for name, array in arrays.items()}


def _without(what: str, state: Mapping[str, Any]) -> Told:
    return {n.removeprefix(f"{what}."): np.array(a) for n, a in state.items() if n.startswith(f"{what}.")}


def _tensor(array: Any) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))
