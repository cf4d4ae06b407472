"""A model of the next link, learned online: a small network on the features of `graph.link_features`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graph.adjacency import Int
from graph.link_features import NAMES, LinkFeatures
from tidemill.errors import ConfigError

Float32 = NDArray[np.float32]

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
_CLIP = 5.0
"""Scaled features are cut off at this many standard deviations."""


class LinkModel:
    """Scores candidates for the other end of a link: which of them is it?

    Each link that happened is an example: its target against `negatives` targets drawn from those known, all by the
    features of the moment before it. The score s is a network of two hidden layers (ReLU) on the scaled features; the
    loss is the softmax cross-entropy

    $$-\\log \\frac{e^{s(u, v)}}{\\sum_c e^{s(u, c)}} + \\frac{\\lambda}{2} \\lVert W \\rVert^2$$

    minimised by Adam. `learn` takes links of the stream in: after every `batch` of them it makes `steps` steps, each on
    the newest batch and as many examples drawn from the last `memory`. `fit` makes passes over those remembered, with a
    step size that falls as a half cosine; the scales are taken anew then.

    The same links in the same order and blocks of the same bounds give the same bytes, on one class of processor and
    the same number of BLAS threads.

    Parameters
    ----------
    hidden: sizes of the two hidden layers.
    negatives: wrong targets for each right one.
    lr, online_lr: step size at the beginning of `fit`, and in the stream.
    l2: λ.
    batch, steps, memory: see above.
    seed: of weights, negatives and draws.

    References
    ----------
    Kingma and Ba, *Adam: a method for stochastic optimization*, ICLR 2015. Poursafaei et al., *Towards better
    evaluation for dynamic link prediction*, NeurIPS 2022, for the features that a baseline needs.
    """

    name = "link model"

    def __init__(
        self,
        *,
        hidden: tuple[int, int] = (64, 32),
        negatives: int = 20,
        lr: float = 2e-3,
        online_lr: float = 5e-4,
        l2: float = 3e-3,
        batch: int = 200,
        steps: int = 2,
        memory: int = 8_000,
        seed: int = 0,
    ) -> None:
        if min(*hidden, negatives, batch, memory) < 1 or steps < 0 or memory < batch:
            raise ConfigError("a size out of range", where="LinkModel", wanted="at least 1, and memory for a batch")
        self._params = {
            "hidden": list(hidden),
            "negatives": negatives,
            "lr": lr,
            "online_lr": online_lr,
            "l2": l2,
            "batch": batch,
            "steps": steps,
            "memory": memory,
            "seed": seed,
        }
        self.batch, self.steps, self.memory, self.negatives = batch, steps, memory, negatives
        self.lr, self.online_lr, self.l2 = lr, online_lr, l2
        self.features = LinkFeatures()
        self._random = np.random.default_rng(seed)
        sizes = (len(NAMES), *hidden, 1)
        pairs = list(itertools.pairwise(sizes))
        self._layers = len(pairs)
        self._weights: list[Float32] = [
            self._random.normal(0.0, np.sqrt(2.0 / a), (a, b)).astype(np.float32) for a, b in pairs
        ]
        self._weights += [np.zeros(b, np.float32) for _, b in pairs]
        self._moments = [np.zeros_like(w) for w in self._weights * 2]
        self._updates = 0
        self._mean, self._scale = np.zeros(len(NAMES), np.float32), np.ones(len(NAMES), np.float32)
        self._examples = np.empty((0, negatives + 1, len(NAMES)), np.float32)
        self._next = self._held = self._unlearned = 0
        self._targets = np.empty(0, np.int64)
        self._known = np.zeros(0, np.bool_)

    def score(self, source: Int, candidates: Int, time: NDArray[np.float64]) -> Float32:
        """Scores (n × c) of links from `source` (n) to `candidates` (n × c) at `time` (n, seconds)."""
        return self.score_rows(self.features.rows(source, candidates, time))

    def score_rows(self, rows: Float32) -> Float32:
        """Scores (n × c) of features (n × c × features)."""
        flat = self._scaled(rows.reshape(-1, len(NAMES)))
        return self._forward(flat)[-1].reshape(rows.shape[:-1])

    def learn(self, source: Int, target: Int, time: NDArray[np.float64], *, stale: bool = False) -> None:
        """Links that happened, in the order of the stream. With `stale` the examples are made by the features of before
        the block, as by one who is told of links in blocks only."""
        self.score_and_learn(source, target, np.empty((len(source), 0), np.int64), time, stale=stale)

    def score_and_learn(
        self, source: Int, target: Int, candidates: Int, time: NDArray[np.float64], *, stale: bool = False
    ) -> Float32:
        """Scores (n × c) of each link's `candidates` by the features of the moment before it (`stale`: before the
        block) and the weights of before the block; then learns the links."""
        self._meet(target)
        drawn = self._targets[self._random.integers(0, len(self._targets) or 1, (len(source), self.negatives))]
        ends = np.concatenate([target[:, None], drawn, candidates], axis=1)
        if stale:
            rows = self.features.rows(source, ends, time)
            self.features.take(source, target, time)
        else:
            rows = self.features.rows_and_take(source, target, ends, time)
        scores = self.score_rows(rows[:, self.negatives + 1 :])
        for first in range(0, len(rows), self.batch):
            self._remember(rows[first : first + self.batch, : self.negatives + 1])
        return scores

    def expect(self, targets: Int) -> None:
        """Nodes that may be targets of links, from which negatives are drawn too before they were one."""
        self._meet(targets)

    def fit(self, passes: int) -> None:
        """Passes over the examples remembered."""
        held = self._examples[: self._held]
        if not len(held):
            return
        flat = held[:: max(1, len(held) // 5_000)].reshape(-1, len(NAMES))
        self._mean, self._scale = flat.mean(axis=0), flat.std(axis=0) + np.float32(1e-6)
        total = passes * -(-len(held) // 256)
        done = 0
        for _ in range(passes):
            order = self._random.permutation(len(held))
            for first in range(0, len(order), 256):
                rate = self.lr * 0.5 * (1.0 + np.cos(np.pi * done / total)) + 0.05 * self.lr
                self._step(held[order[first : first + 256]], rate)
                done += 1

    def _meet(self, targets: Int) -> None:
        """Targets in the order of first coming."""
        if not len(targets):
            return
        most = int(targets.max()) + 1
        if most > len(self._known):
            self._known = np.concatenate(
                [self._known, np.zeros(max(most, 2 * len(self._known)) - len(self._known), bool)]
            )
        new = targets[~self._known[targets]]
        if len(new):
            first = np.sort(np.unique(new, return_index=True)[1])
            self._targets = np.concatenate([self._targets, new[first]])
            self._known[new] = True

    def _remember(self, rows: Float32) -> None:
        room = len(self._examples)
        if room < self.memory and self._held + len(rows) > room:
            grown = np.empty((min(self.memory, max(2 * room, 1_024, len(rows))), *rows.shape[1:]), np.float32)
            grown[: self._held] = self._examples[: self._held]
            self._examples = grown
        at = (self._next + np.arange(len(rows))) % len(self._examples)
        self._examples[at] = rows
        self._next = int((self._next + len(rows)) % self.memory)
        self._held = min(self._held + len(rows), self.memory)
        self._unlearned += len(rows)
        if self._unlearned >= self.batch and self._updates:
            newest = (self._next - 1 - np.arange(self._unlearned)) % len(self._examples)
            for _ in range(self.steps):
                drawn = self._random.integers(0, self._held, self.batch)
                self._step(self._examples[np.concatenate([newest, drawn])], self.online_lr)
        if self._unlearned >= self.batch:
            self._unlearned = 0

    def _scaled(self, flat: Float32) -> Float32:
        scaled: Float32 = np.clip((flat - self._mean) / self._scale, -_CLIP, _CLIP)
        return scaled

    def _forward(self, x: Float32) -> list[Float32]:
        """The values of every layer, the input's first."""
        out = [x]
        for i in range(self._layers):
            x = x @ self._weights[i] + self._weights[self._layers + i]
            out.append(x if i == self._layers - 1 else np.maximum(x, 0.0))
            x = out[-1]
        return out

    def _step(self, examples: Float32, rate: float) -> None:
        """One step of Adam on the mean loss of the examples, the right target of each standing first."""
        count = len(examples)
        values = self._forward(self._scaled(examples.reshape(-1, len(NAMES))))
        scores = values[-1].reshape(count, -1)
        share = np.exp(scores - scores.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        share[:, 0] -= 1.0
        slope = (share / count).reshape(-1, 1)
        self._updates += 1
        for i in reversed(range(self._layers)):
            gradients = values[i].T @ slope + self.l2 * self._weights[i], slope.sum(axis=0)
            if i:
                slope = (slope @ self._weights[i].T) * (values[i] > 0)
            for place, gradient in zip((i, self._layers + i), gradients, strict=True):
                self._move(place, gradient, rate)

    def _move(self, place: int, gradient: Float32, rate: float) -> None:
        first, second = self._moments[place], self._moments[len(self._weights) + place]
        first += (1 - _BETA1) * (gradient - first)
        second += (1 - _BETA2) * (gradient * gradient - second)
        mean = first / (1 - _BETA1**self._updates)
        spread = np.sqrt(second / (1 - _BETA2**self._updates))
        self._weights[place] -= (rate * mean / (spread + _EPSILON)).astype(np.float32)

    def params(self) -> dict[str, Any]:
        return dict(self._params)

    def state(self) -> dict[str, Any]:
        """All that was learned, and what learning goes on from."""
        order = (self._next - self._held + np.arange(self._held)) % max(1, self._held)
        return {
            "weights": [w.copy() for w in self._weights],
            "moments": [m.copy() for m in self._moments],
            "updates": self._updates,
            "mean": self._mean.copy(),
            "scale": self._scale.copy(),
            "examples": self._examples[order],
            "unlearned": self._unlearned,
            "targets": self._targets.copy(),
            "random": _words(self._random),
            "features": self.features.state(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        self._weights = [np.array(w, np.float32) for w in state["weights"]]
        self._moments = [np.array(m, np.float32) for m in state["moments"]]
        self._updates, self._unlearned = state["updates"], state["unlearned"]
        self._mean, self._scale = np.array(state["mean"]), np.array(state["scale"])
        self._examples = np.array(state["examples"], np.float32)
        self._held = len(self._examples)
        self._next = self._held % self.memory
        self._targets, self._known = np.empty(0, np.int64), np.zeros(0, np.bool_)
        self._meet(np.array(state["targets"], np.int64))
        self._random = np.random.default_rng(0)
        _take_words(self._random, state["random"])
        self.features = LinkFeatures()
        self.features.load_state(state["features"])


def _words(random: np.random.Generator) -> list[str]:
    """The state of a PCG64 generator as plain text: its numbers have 128 bits."""
    state = random.bit_generator.state
    return [str(state["state"]["state"]), str(state["state"]["inc"]), str(state["has_uint32"]), str(state["uinteger"])]


def _take_words(random: np.random.Generator, words: list[str]) -> None:
    state, inc, has, uinteger = (int(word) for word in words)
    full = {"bit_generator": "PCG64", "state": {"state": state, "inc": inc}, "has_uint32": has, "uinteger": uinteger}
    random.bit_generator.state = full
