"""Will the edge source → target appear: a network of links, asked of a live graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graph.link_history import Ints
from graph.link_model import draw, place
from graph.link_question import HIDDEN_SCORE, ends, event_of, said_of
from graph.nn.link_stream import LinkStream
from graph.nn.network_links import exactly, load_weights, made, with_weights
from graph.nn.recent_links import Told
from graph.question import Columns, digest_of, is_whole, moments_of, plain, times
from tidemill.errors import ConfigError
from tidemill.servable import TensorSpec


class NetworkQuestion:
    """Outputs as of `graph.link_question.LinkQuestion`, of each row (source, target, time), beside `against` others.

    What experts said counts as there. The links looked at are strictly earlier than `time`; TGN's memory is of all that
    had come. The learned state is the network's weights.
    """

    def __init__(
        self,
        *,
        relation: str,
        network: str,
        settings: Mapping[str, Any] | None = None,
        against: int = 50,
        seed: int = 0,
    ) -> None:
        if not (is_whole(against, 1, 10_000) and is_whole(seed, 0, 1 << 62)):
            wanted = "against 1 to 10,000 and a seed from 0, whole numbers"
            raise ConfigError("a question that cannot be asked", wanted=wanted, got=f"{against}, {seed}")
        ids = [TensorSpec(name, "BYTES", [-1]) for name in ("source", "target")]
        self.inputs = [*ids, TensorSpec("time", "INT64", [-1])]
        self.outputs = [TensorSpec(name, "FP64", [-1]) for name in ("score", "oddness", "rank_score")]
        self.relation, self.network, self.settings = relation, network, dict(settings or {})
        self.against, self.seed = against, seed
        self._model = made(network, self.settings)

    def params(self) -> dict[str, Any]:
        names = ("relation", "network", "settings", "against", "seed")
        return {name: getattr(self, name) for name in names}

    def state(self) -> dict[str, Any]:
        return {name: value.detach().numpy().copy() for name, value in self._model.network.named_parameters()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        load_weights(self._model, state)

    def ask(self, state: Any, inputs: Columns) -> dict[str, NDArray[Any]]:
        src, dst = ends(state.graph, self.relation, inputs["source"], inputs["target"])
        moments = moments_of(state.graph, self.relation, inputs)
        said, when = said_of(state.graph, self.relation, inputs, moments), moments / 1e6
        seen, past = self._seen(state), state.links.past.arrays
        out, candidates = np.empty((len(src), 3)), np.empty(1 + self.against, np.int64)
        with exactly():
            for i in range(len(src)):
                candidates[0] = dst[i]
                draw(past, src[i], dst[i], self.seed, event_of(src[i], dst[i]), 0, 0.0, candidates[1:])
                # A row alone, so that it has one answer among whichever others.
                scores = seen.score(src[i : i + 1], candidates[None, :], when[i : i + 1])[0]
                if np.isneginf(said[i]):
                    out[i] = 0.0, 1.0, HIDDEN_SCORE
                    continue
                scores[0] += np.float32(said[i])
                share = 1.0 / np.exp(scores.astype(np.float64) - scores[0]).sum()
                out[i] = share, (place(scores) - 1.0) / self.against, scores[0]
        return {"score": out[:, 0], "oddness": out[:, 1], "rank_score": out[:, 2]}

    def evidence(self, state: Any, inputs: Columns) -> str:
        """Of what the network is told of source and target, their links and their memory, and of what experts said."""
        _, told = self._told(state, inputs)
        said = said_of(state.graph, self.relation, inputs, times(inputs))
        return digest_of(*(told[name] for name in sorted(told)), *([said] if said.any() else []))

    def explain(self, state: Any, inputs: Columns) -> dict[str, Any]:
        """`neighbours`: the links of source and target that the network looks at, each with its `influence`: by how
        much the network's score falls where it is left out; the most influential first."""
        seen, told = self._told(state, inputs)
        graph, it = state.graph, state.graph.relations[self.relation]
        ids, two = seen.past.graph.ids("node"), it.source != it.target
        with exactly():
            whole = seen.asked(told)[0, 0]
            near: list[dict[str, Any]] = []
            for c, k in np.argwhere(told["near"][0] > 0).tolist():
                without = {**told, "near": told["near"].copy()}
                without["near"][0, c, k] = 0
                named = int(ids[told["rows"][told["near"][0, c, k]]])
                node_type = it.target if two and named % 2 else it.source
                (id,) = graph.ids(node_type, [named // 2 if two else named])
                near.append(
                    {
                        "of": ("source", "target")[c],
                        "direction": "out" if told["out"][0, c, k] else "in",
                        "node": plain(id),
                        "time": int(times(inputs)[0] - round(float(told["ago"][0, c, k]) * 1e6)),
                        "influence": float(whole - seen.asked(without)[0, 0]),
                    }
                )
        return {"features": {}, "neighbours": sorted(near, key=lambda one: -abs(one["influence"]))}

    def _seen(self, state: Any) -> LinkStream:
        return with_weights(state.links.network, self._model)

    def _told(self, state: Any, inputs: Columns) -> tuple[LinkStream, Told]:
        """Of the one row."""
        src, dst = ends(state.graph, self.relation, inputs["source"], inputs["target"])
        seen = self._seen(state)
        numbers: Ints = seen.past.numbers(np.stack([src, dst], axis=1))
        return seen, seen.around(numbers, moments_of(state.graph, self.relation, inputs) / 1e6)
