"""A job that learns links on a log in memory, the service that answers for it, and edges to publish."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from graph.link_job import LinkState, link_job
from graph.mapping import EdgeFrom, GraphSpec
from graph.relation import Relation
from streams.engines.local import LocalEngine
from streams.state_store import FolderStore
from tests.serving.helpers import until
from tests.tidemill_app.in_memory import memory_platform
from tidemill.engine import Parts
from tidemill.job import Job
from tidemill.order import EventTime
from tidemill.stream import Field, StreamSpec
from tidemill_app.config import Secret
from tidemill_app.publisher import ArtefactPublisher
from tidemill_app.scoring import ScoringService
from tidemill_app.wiring import Platform

SPEC = StreamSpec(
    name="ratings",
    fields=(Field("id", "string"), Field("at", "time"), Field("rater", "int"), Field("rated", "int")),
    time="at",
    id="id",
    time_unit="s",
)


def trust(**changes: Any) -> Job[LinkState]:
    settings: dict[str, Any] = {
        "name": "trust",
        "spec": GraphSpec(
            nodes=["trader"],
            relations=[Relation("trusts", "trader", "trader")],
            rules=[EdgeFrom("trusts", "ratings", source="rater", target="rated")],
        ),
        "relation": "trusts",
        "order": EventTime(lateness=0, idle_after=None),
        "version_every": 50,
        "metrics_every": 50,
        "commit_every": 0.01,
    }
    return link_job(**settings | changes)


class Market:
    """The platform in memory with the stream declared; `publish` adds edges, `learn` has the job read them all."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.platform: Platform = memory_platform(folder)
        nowhere = Secret("redis://127.0.0.1:9")  # the graph is no table of features
        self.platform.connection = msgspec.structs.replace(self.platform.connection, redis=nowhere)
        self.platform.catalogue().declare(SPEC)
        self.folder, self.job, self.sent = folder, trust(**changes), 0
        self._rng = np.random.default_rng(4)

    @property
    def endpoint(self) -> Any:
        return self.job.endpoint

    def publish(self, count: int, nodes: int = 12) -> None:
        """Random edges, a minute apart."""
        writer = self.platform.log.writer()
        for i in range(self.sent, self.sent + count):
            rater, rated = self._rng.integers(0, nodes, 2).tolist()
            event = {"id": f"r{i}", "at": 60 * i, "rater": rater, "rated": rated}
            writer.send(SPEC.topic, json.dumps(event).encode(), partition=0)
        writer.flush()
        writer.close()
        self.sent += count

    def learn(self, size: int = 9) -> None:
        """The job's process, until it has read and committed what there is."""
        platform, log = self.platform, self.platform.log
        publisher = ArtefactPublisher(platform.artefacts, log, platform.clock, pin=platform.pin)
        told: dict[str, Any] = {}
        parts = Parts(
            log=log,
            store=FolderStore(self.folder / "state"),
            clock=platform.clock,
            streams=platform.specs_of(self.job),
            publisher=publisher,
            objects=platform.artefacts,
            report=told.update,
        )
        (at,) = log.partitions(SPEC.topic)

        def done() -> bool:
            committed = log.committed("tidemill.trust")  # type: ignore[attr-defined]
            return told.get("state", "recovering") != "recovering" and committed.get(at, 0) >= log.end(at)

        LocalEngine(max_batch=size, snapshot_every=0.05).run(self.job, parts, done)

    @contextmanager
    def serving(self) -> Iterator[ScoringService]:
        service = ScoringService(self.platform, [self.endpoint], [])
        service.start()
        try:
            until(lambda: not service.missing())
            yield service
        finally:
            service.close()


def score(service: ScoringService, rater: Any, rated: Any, explain: bool = False, **more: Any) -> Any:
    event = {"rater": rater, "rated": rated, **more}
    return service.scorers["ratings"].score(json.dumps(event).encode(), explain)


def caught_up(market: Market, service: ScoringService) -> Callable[[], bool]:
    """Whether the copy holds all that is complete: under no lateness, all but those of the newest time."""
    return lambda: bool(service.copies.of("trust").position >= market.sent - 1)  # type: ignore[union-attr]
