"""Everything behind `tidemill serve`, wired: endpoints, the data plane, the follower, prediction logs, the door."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from connectors.artefacts import ArtefactStore
from graph.question import KINDS as QUESTIONS
from serving.asked import ServedQuestion
from serving.encoded import servable_of
from serving.follow import Follower, Load
from serving.freshness import Freshness
from serving.http import Door
from serving.known import FeatureTables
from serving.metrics import Metrics
from serving.online import ServedLearner
from serving.onnx import FILE, KIND
from serving.plane import DataPlane
from serving.scoring import Scorer
from streams.replica import Replica
from tidemill.endpoint import Endpoint
from tidemill.errors import IncompatibleError, TidemillError
from tidemill.events import JobChanged, ModelPublished
from tidemill.job import REPLAYED
from tidemill.servable import Servable
from tidemill.stream import StreamSpec
from tidemill.time import Clock, SystemClock
from tidemill.version import Lineage
from tidemill_app.copies import Copies
from tidemill_app.endpoints import Submitted
from tidemill_app.job_table import REMOVED
from tidemill_app.online_features import reading
from tidemill_app.prediction_logs import PredictionLogs
from tidemill_app.publisher import load_content
from tidemill_app.wiring import Platform

_log = logging.getLogger("tidemill.serving")


def loader(
    store: ArtefactStore,
    learned: Callable[[Lineage], None] = lambda lineage: None,
    copy_of: Callable[[str, str], Replica[Any] | None] = lambda model, code: None,
    clock: Clock | None = None,
) -> Load:
    """Loads published versions from the store, everything verified first; `learned` is told where each came from, and
    `copy_of` gives the copy of the state that a model is asked of."""

    def load(event: ModelPublished) -> Servable:
        manifest, files = store.load(event.model, event.version, event.version_digest)
        if manifest.kind == KIND:
            return servable_of(files[FILE])
        if manifest.kind == REPLAYED:
            raise IncompatibleError("a model whose state cannot be saved is rebuilt and compared, and not served")
        content = load_content(files)
        servable: Servable
        if manifest.kind in QUESTIONS:
            servable = ServedQuestion(content, lambda: copy_of(event.model, event.bundle), clock or SystemClock())
        else:
            servable = ServedLearner(content)
        if manifest.lineage is not None:
            learned(manifest.lineage)
        return servable

    return load


class ScoringService:
    """The parts of one serving process. `start` begins to follow the log; `door` answers meanwhile and after.

    With `endpoints` it answers for these. Without, it answers for every submitted job, also for those submitted while
    it runs, each model state with the code that learned it, and is ready as soon as one of them can answer. `keeping`
    is told of every job whose feature tables are followed from now on, `measuring` of every submitted job that answers.
    """

    def __init__(
        self,
        platform: Platform,
        endpoints: Sequence[Endpoint] | None,
        keys: list[str],
        keeping: Callable[[str], None] = lambda job: None,
        measuring: Callable[[Endpoint, JobChanged], None] = lambda endpoint, job: None,
    ) -> None:
        self._platform = platform
        self.plane = DataPlane()
        self.freshness = Freshness()
        self.tables: dict[str, FeatureTables] = {}
        self.copies = Copies(platform)
        self.logs = PredictionLogs(platform.log, platform.home.path / "spill", lambda: self.door.scorers)
        self._keeping = keeping
        self._measuring = measuring
        self._submitted = Submitted(platform) if endpoints is None else None
        self._specs: dict[str, StreamSpec] = {}
        self._trusted = platform.artefacts.trusted
        table = platform.jobs() if self._submitted is not None else None
        self.follower = Follower(
            platform.log,
            self.plane,
            loader(platform.artefacts, self._learned, self.copies.of, platform.clock),
            self.freshness,
            declared=self._declared,
            submitted=None if self._submitted is None else self._changed,
            jobs_from=None if table is None else table.position,
            renewed=self._renewed,
        )
        self.door = Door(
            self.plane,
            {},
            self.freshness,
            keys=keys,
            ready=self.missing,
            keep=self.logs.keep,
            media=platform.artefacts.get,
            clock=platform.clock,
            metrics=Metrics(self._gauges),
        )
        for endpoint in endpoints or ():
            self._take(endpoint, "")
        if table is not None:
            # What runs goes before what was stopped, and the newer before the older: the last one has the name.
            for wish in sorted(table.jobs.values(), key=lambda w: (w.wanted == "running", w.time)):
                self._changed(wish)

    @property
    def scorers(self) -> dict[str, Scorer]:
        return self.door.scorers

    def start(self) -> None:
        self.logs.start()
        self.follower.start()

    def close(self) -> None:
        """After the last answer: every prediction reaches the disk, and Kafka where it answers."""
        self.follower.close()
        self.copies.close()
        self.logs.close()
        self.door.close()

    def missing(self) -> str:
        """What is missing before the server is ready; empty where nothing is."""
        if not self.freshness.started:
            return "the log has not been read to its end yet"
        waiting = [scorer.waiting_for for scorer in self.scorers.values()]
        if self._submitted is not None and not all(waiting):
            # One job that has no version yet does not take the server from those that have.
            waiting = []
        return "; ".join(filter(None, [self.logs.problem, *waiting]))

    def _changed(self, wish: JobChanged) -> None:
        assert self._submitted is not None
        if wish.wanted == REMOVED:
            self.copies.drop(wish.job)
        endpoint = self._submitted.taken(wish)
        if endpoint is not None:
            self._take(endpoint, wish.bundle)
            # What is asked of a graph has no label that would join it, unless its job says how.
            if not endpoint.unserved and (endpoint.replica is None or endpoint.measured is not None):
                self._measuring(endpoint, wish)

    def _renewed(self) -> bool:
        """Whether other keys are trusted than before; then code that was refused is looked at again."""
        try:
            trusted = self._platform.artefacts.trusted
        except TidemillError:
            return False  # the file of keys cannot be read just now; what it is needed for says so
        if trusted == self._trusted:
            return False
        for wish in self._submitted.reconsidered() if self._submitted is not None else ():
            self._changed(wish)
        self._trusted = trusted
        return True

    def _take(self, endpoint: Endpoint, bundle: str, *, newest: bool = True) -> None:
        """Answer at `endpoint`, with the code of this bundle too."""
        self.copies.follow(endpoint, bundle)
        tables = self._tables_of(endpoint.job)
        scorer = self.scorers.get(endpoint.name)
        if scorer is not None:
            scorer.add(endpoint, tables, bundle, newest=newest)
            self.logs.renamed()
            return
        keep = self.logs.endpoint(endpoint.name).append
        scorer = Scorer(endpoint, self.plane, tables, self.freshness, keep, self._platform.clock, bundle)
        for spec in self._specs.values():
            scorer.declare(spec)
        # Replaced, not edited: requests read them meanwhile.
        self.door.scorers = {**self.scorers, endpoint.name: scorer}
        self.logs.renamed()
        _log.info("endpoint %s: answering for job %s", endpoint.name, endpoint.job)

    def _tables_of(self, job: str) -> FeatureTables:
        if job not in self.tables:
            tables = FeatureTables(reading(self._platform.connection, job))
            self.tables = {**self.tables, job: tables}
            self.follower.fill(job, tables)
            self._keeping(job)
        return self.tables[job]

    def _learned(self, lineage: Lineage) -> None:
        """A version is to be served: so is the code that it was learned by."""
        endpoint = self._submitted.of(lineage) if self._submitted is not None else None
        scorer = None if endpoint is None else self.scorers.get(endpoint.name)
        if endpoint is not None and scorer is not None and not scorer.has(lineage.bundle):
            self._take(endpoint, lineage.bundle, newest=False)

    def _declared(self, spec: StreamSpec) -> None:
        self._specs[spec.name] = spec
        for scorer in self.scorers.values():
            try:
                scorer.declare(spec)
            except TidemillError as error:
                _log.error("endpoint %s: %s", scorer.name, error)

    def _gauges(self) -> Iterable[tuple[str, str, dict[str, str], float]]:
        yield "tidemill_ready", "1 where the server is ready", {}, float(not self.missing())
        stale = self.freshness.seconds()
        yield "tidemill_staleness_seconds", "Age of the newest state of the log that is applied", {}, stale
        yield "tidemill_follow_failures", "Failed reads of the log", {}, self.follower.failures
        yield "tidemill_delta_gaps", "Gaps found in deltas", {}, self.follower.gaps
        yield "tidemill_versions_rejected", "Versions that failed verification", {}, len(self.follower.rejected)
        refused = 0 if self._submitted is None else len(self._submitted.refused)
        yield "tidemill_endpoints_refused", "Submitted jobs whose code could not be loaded", {}, refused
        yield "tidemill_pending_requests", "Requests in the server", {}, self.door.pending()
        yield "tidemill_batch_waiting", "Requests that wait for the model thread", {}, len(self.door.batcher)
        yield from self.plane.gauges()
        for copy in self.copies.all():
            yield (
                "tidemill_copy_position",
                "Events in the copy of a state",
                {"job": copy.name},
                copy.position,
            )
            yield "tidemill_copy_commit", "The job's commit that the copy has taken", {"job": copy.name}, copy.sequence
            yield "tidemill_copy_stale_seconds", "How long it could not go on", {"job": copy.name}, copy.stale
            yield "tidemill_copy_ready", "1 where the copy can be asked", {"job": copy.name}, float(copy.ready)
        for job, tables in self.tables.items():
            yield "tidemill_feature_sequence", "Sequence of the newest features", {"job": job}, tables.sequence
            yield "tidemill_feature_rows", "Rows of features in memory", {"job": job}, len(tables)
        yield from self.logs.gauges()

    def summary(self) -> dict[str, Any]:
        return {"endpoints": sorted(self.scorers)}
