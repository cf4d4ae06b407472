"""The job that trains a network of links, edge by edge, and answers from the live graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from graph.job import warm
from graph.link_job import LinkJob, LinkState
from graph.link_model import Told
from graph.nn.network_links import NetworkLinks
from graph.nn.network_question import NetworkQuestion
from graph.question import content_of
from tidemill.block import Block
from tidemill.errors import ConfigError
from tidemill.job import Effects, Job, ModelContent
from tidemill.order import Batch


class NetworkState(LinkState):
    """As of `LinkJob`, with a network."""

    links: NetworkLinks  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True)
class NetworkJob(LinkJob):
    """A `LinkJob` whose model is a network of `graph.nn`, `network` "tgn" or "graph_mixer", with its `settings`
    (`graph.nn.tgn.TGN`, `graph.nn.graph_mixer.GraphMixer`), but for `negatives` and `seed`, which are the job's, and
    `edge`: the relation's features are the links'.

    What it emits, its versions, deltas and endpoint are those of a `LinkJob`. A memory is a function of all weights
    that there were as it grew, so a server's copy of the state learns as the job does; its answers are of the weights
    of the version that is served. Torch must be where the job, and a server of it, runs.

    Raises `SubmissionError` where the settings do not fit together, `ConfigError` where the network has no such ones.
    """

    network: str = "tgn"
    settings: Mapping[str, Any] = field(default_factory=dict)
    kind: ClassVar[type[LinkState]] = NetworkState

    @property
    def _features(self) -> tuple[str, ...]:
        return self._relation.features

    def _links(self) -> NetworkLinks:
        return NetworkLinks(network=self.network, settings=self._settings, bipartite=self._relation.bipartite)

    @cached_property
    def _settings(self) -> dict[str, Any]:
        if own := {"negatives", "seed", "edge"} & set(self.settings):
            raise ConfigError("set for the job", where="settings", got=", ".join(sorted(own)), fix="Give it them so.")
        return {**self.settings, "negatives": self.negatives, "seed": self.seed, "edge": len(self._features)}

    @cached_property
    def _asks(self) -> NetworkQuestion:
        return NetworkQuestion(
            relation=self.relation,
            network=self.network,
            settings=self._settings,
            against=self.against,
            seed=self.seed,
        )

    def _content(self, state: LinkState) -> ModelContent:
        return content_of(self._asks, state.links.weights())  # type: ignore[operator]

    def _grow(self, state: LinkState, batch: Batch) -> Effects[LinkState]:
        dead, edges = self._taken(state, batch)
        for block, ends in edges:
            self._follow(state, block, *ends)
        return Effects(state, dead=dead)

    def _follow(self, state: LinkState, block: Block, src: Any, dst: Any, time: Any) -> Told:
        columns = [np.asarray(block.columns[name], np.float32) for name in self._features]
        said = np.stack(columns, axis=1) if columns else None
        told: Told = state.links.follow(src, dst, time, said)  # type: ignore[call-arg]
        return told

    def _warm(self) -> None:
        warm(self.spec)
        said = np.zeros((2, len(self._features)), np.float32)
        self._links().follow([0, 1], [1, 0], [0.0, 1.0], said)


def network_job(**settings: Any) -> Job[LinkState]:
    """The job of a `NetworkJob` with the settings given."""
    return NetworkJob(**settings).job()
