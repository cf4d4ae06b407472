"""A network of links in a job: each edge is predicted from all before it, and then learned, beside the baselines."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from graph.link_history import LinkHistory, edges
from graph.link_model import Told, draw, tell
from graph.nn.graph_mixer import GraphMixer
from graph.nn.link_stream import LinkStream
from graph.nn.tgn import TGN
from tidemill.errors import ConfigError, IncompatibleError

NETWORKS: dict[str, type[LinkStream]] = {"tgn": TGN, "graph_mixer": GraphMixer}


class NetworkLinks:
    """`network` ("tgn" or "graph_mixer") with its `settings`, in the place that `LinkModel` has in a `LinkJob`.

    Every edge is an event of its own to the network (the causal protocol), and its negatives are drawn as `LinkModel`
    draws them: so what is learned is the same, to the last bit, however the stream is cut. `past` is what draws and
    baselines look at. Raises `ConfigError` for an unknown network, or settings that it does not have.
    """

    def __init__(self, *, network: str, settings: Mapping[str, Any] | None = None, bipartite: bool = False) -> None:
        self.name, self.settings = network, dict(settings or {})
        self.network, self.past, self.events = made(network, self.settings), LinkHistory(bipartite=bipartite), 0

    def follow(self, src: ArrayLike, dst: ArrayLike, time: ArrayLike, said: NDArray[Any] | None = None) -> Told:
        """Predict each edge from all before it, and then learn it, with what is `said` of it (n, edge)."""
        src, dst, time = edges(src, dst, time)
        told = np.zeros((len(src), len(Told._fields)))
        net = self.network
        candidates = np.empty(1 + net.negatives, np.int64)
        self.past.reserve(len(src))
        with exactly():
            for i in range(len(src)):
                candidates[0] = dst[i]
                draw(
                    self.past.arrays,
                    src[i],
                    dst[i],
                    net.seed,
                    self.events,
                    0,
                    net.strangers,
                    candidates[1:],
                )
                scores = net.follow(int(src[i]), candidates, float(time[i]), None if said is None else said[i : i + 1])
                tell(self.past.arrays, src[i], candidates, time[i], scores, told[i])
                self.past.update(src[i : i + 1], dst[i : i + 1], time[i : i + 1])
                self.events += 1
        return Told(*np.ascontiguousarray(told.T))

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """The network's, by name."""
        return {name: value.detach().numpy().copy() for name, value in self.network.network.named_parameters()}

    def params(self) -> dict[str, Any]:
        return {"network": self.name, "settings": self.settings, "bipartite": self.past.bipartite}

    def state(self) -> dict[str, Any]:
        """`network.*` and `past.*` of what they are, and `events`."""
        parts = ("network", self.network.state()), ("past", self.past.state())
        return {f"{what}.{n}": array for what, arrays in parts for n, array in arrays.items()} | {"events": self.events}

    def load_state(self, state: Mapping[str, Any]) -> None:
        if "events" not in state:
            raise IncompatibleError(
                "not a state of this model", where="NetworkLinks", wanted="events, network.*, past.*"
            )
        parts: dict[str, dict[str, Any]] = {"network": {}, "past": {}}
        for name, value in state.items():
            what, _, rest = name.partition(".")
            if what in parts:
                parts[what][rest] = value
        self.network.load_state(parts["network"])
        self.past.load_state(parts["past"])
        self.events = int(state["events"])


def made(network: str, settings: Mapping[str, Any]) -> LinkStream:
    """The network of this name. Raises `ConfigError`."""
    if network not in NETWORKS:
        raise ConfigError("no such network of links", wanted=" or ".join(NETWORKS), got=repr(network))
    try:
        return NETWORKS[network](**settings)
    except TypeError as error:
        raise ConfigError("settings that the network does not have", where=network, got=str(error)) from None


def with_weights(network: LinkStream, other: LinkStream) -> LinkStream:
    """`network`, its past and its memory, with the weights of `other`; nothing is copied."""
    seen = copy.copy(network)
    seen.network = other.network
    return seen


def load_weights(network: LinkStream, weights: Mapping[str, Any]) -> None:
    """Raises `IncompatibleError` where they are not those of such a network."""
    own = dict(network.network.named_parameters())
    shapes = {name: tuple(value.shape) for name, value in own.items()}
    got = {name: np.shape(value) for name, value in weights.items()}
    if got != shapes:
        wrong = sorted(name for name in shapes.keys() | got.keys() if shapes.get(name) != got.get(name))
        raise IncompatibleError(
            "not the weights of this network", where=type(network).__name__, got=", ".join(wrong[:5])
        )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(torch.from_numpy(np.array(weights[name], np.float32)))


@contextmanager
def exactly() -> Iterator[None]:
    """One thread and deterministic algorithms: the same steps give the same bytes."""
    threads, before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(before)
