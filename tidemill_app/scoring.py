"""Everything behind `tidemill serve`, wired: endpoints, the data plane, the follower, prediction logs, the door."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from connectors.artefacts import ArtefactStore
from serving.follow import Follower, Load
from serving.freshness import Freshness
from serving.http import Door
from serving.known import FeatureTables
from serving.metrics import Metrics
from serving.online import ServedLearner, decode_content
from serving.onnx import FILE, KIND, OnnxServable
from serving.plane import DataPlane
from serving.prediction_log import PredictionLog
from serving.scoring import Scorer
from serving.spool import Spool
from tidemill.endpoint import Endpoint
from tidemill.errors import SubmissionError, TidemillError
from tidemill.events import ModelPublished
from tidemill.servable import Servable
from tidemill.stream import StreamSpec
from tidemill_app.job_file import Target, load_job
from tidemill_app.online_features import reading
from tidemill_app.publisher import CONTENT
from tidemill_app.run_job import submitted_job
from tidemill_app.wiring import Platform

_log = logging.getLogger("tidemill.serving")


def endpoints_of(platform: Platform, files: Sequence[str]) -> list[Endpoint]:
    """The endpoints of the jobs in `files` (`path.py[:function]`); without files, of every submitted job.

    Raises `SubmissionError` where a file's job has no endpoint, or two endpoints have one name.
    """
    if files:
        jobs = []
        for text in files:
            target = Target.parse(text)
            jobs.append(load_job(target.path, target.function))
            if jobs[-1].endpoint is None:
                raise SubmissionError("the job has no endpoint", where=text, fix="Set `endpoint=` of its Job.")
    else:
        jobs = [submitted_job(platform, wish) for wish in platform.jobs().jobs.values() if wish.bundle]
    found = [job.endpoint for job in jobs if job.endpoint is not None]
    names = [endpoint.name for endpoint in found]
    if doubled := sorted({n for n in names if names.count(n) > 1}):
        raise SubmissionError("two endpoints have one name", got=", ".join(doubled))
    return found


def loader(store: ArtefactStore) -> Load:
    """Loads published versions from the store, everything verified first."""

    def load(event: ModelPublished) -> Servable:
        manifest, files = store.load(event.model, event.version, event.version_digest)
        if manifest.kind == KIND:
            return OnnxServable(files[FILE])
        return ServedLearner(decode_content(files[CONTENT]))

    return load


class ScoringService:
    """The parts of one serving process. `start` begins to follow the log; `door` answers meanwhile and after."""

    def __init__(self, platform: Platform, endpoints: Sequence[Endpoint], keys: list[str]) -> None:
        self.plane = DataPlane()
        self.freshness = Freshness()
        self.tables = {e.job: FeatureTables(reading(platform.connection, e.job)) for e in endpoints}
        self.logs: dict[str, PredictionLog] = {}
        self.scorers: dict[str, Scorer] = {}
        for endpoint in endpoints:
            spool = Spool.claim(platform.home.path / "spill" / endpoint.name)
            kept = self.logs[endpoint.name] = PredictionLog(endpoint.name, platform.log, spool)
            self.scorers[endpoint.name] = Scorer(
                endpoint, self.plane, self.tables[endpoint.job], self.freshness, kept.append, platform.clock
            )
        self.follower = Follower(
            platform.log,
            self.plane,
            loader(platform.artefacts),
            self.freshness,
            tables=self.tables,
            declared=self._declared,
        )
        self.door = Door(
            self.plane, self.scorers, self.freshness, keys=keys, ready=self.missing, metrics=Metrics(self._gauges)
        )

    def start(self) -> None:
        for kept in self.logs.values():
            kept.start()
        self.follower.start()

    def close(self) -> None:
        """After the last answer: every prediction reaches the disk, and Kafka where it answers."""
        self.follower.close()
        for kept in self.logs.values():
            kept.close()
        self.door.batcher.close()

    def missing(self) -> str:
        """What is missing before the server is ready; empty where nothing is."""
        if not self.freshness.started:
            return "the log has not been read to its end yet"
        problems = [kept.problem for kept in self.logs.values()] + [s.waiting_for for s in self.scorers.values()]
        return "; ".join(filter(None, problems))

    def _declared(self, spec: StreamSpec) -> None:
        for scorer in self.scorers.values():
            if scorer.endpoint.stream == spec.name:
                try:
                    scorer.declare(spec)
                except TidemillError as error:
                    _log.error("endpoint %s: %s", scorer.endpoint.name, error)

    def _gauges(self) -> Iterable[tuple[str, str, dict[str, str], float]]:
        yield "tidemill_ready", "1 where the server is ready", {}, float(not self.missing())
        stale = self.freshness.seconds()
        yield "tidemill_staleness_seconds", "Age of the newest state of the log that is applied", {}, stale
        yield "tidemill_follow_failures", "Failed reads of the log", {}, self.follower.failures
        yield "tidemill_delta_gaps", "Gaps found in deltas", {}, self.follower.gaps
        yield "tidemill_versions_rejected", "Versions that failed verification", {}, len(self.follower.rejected)
        yield "tidemill_pending_requests", "Requests in the server", {}, self.door.pending()
        yield "tidemill_batch_waiting", "Requests that wait for the model thread", {}, len(self.door.batcher)
        for model in self.plane.models():
            live = self.plane.resolve(model)
            labels = {"model": model, "version": live.version}
            yield "tidemill_model_info", "The version being served", labels, 1.0
            yield "tidemill_model_delta", "Sequence of the last delta applied", {"model": model}, live.delta
            yield "tidemill_model_labels", "Labels in the live model", {"model": model}, live.labels
        for job, tables in self.tables.items():
            yield "tidemill_feature_sequence", "Sequence of the newest features", {"job": job}, tables.sequence
            yield "tidemill_feature_rows", "Rows of features in memory", {"job": job}, len(tables)
        for name, kept in self.logs.items():
            labels = {"endpoint": name}
            yield "tidemill_predictions_unsent", "Predictions not in Kafka yet", labels, kept.unsent
            yield "tidemill_spool_bytes", "Size of the spool on disk", labels, kept.spooled_bytes

    def summary(self) -> dict[str, Any]:
        return {"endpoints": sorted(self.scorers)}
