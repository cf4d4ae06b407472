"""The Flink engine: puts a job on a cluster and tends it there.

The process that runs this (a job's, under the supervisor) works no event. It submits, watches, says how the job is, and
stops it with a savepoint; it may be killed and started again at any moment and finds its job by the id it wrote down
first. A job that is no longer on the cluster is put there again from its newest checkpoint, which is the only one from
which nothing comes twice.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar

import msgspec

from streams.engines.flink import idling, rest
from streams.engines.flink.flow import Choices, Flow, check, choices_of, prefix_of, topics
from streams.engines.flink.idling import Idling
from streams.engines.flink.rest import Cluster
from streams.engines.flink.setting import MAX_SHARDS, Setting
from streams.engines.flink.submit import Order, submit
from streams.engines.flink.watch import Watch
from streams.engines.patience import PASSING, Patience, wait
from streams.engines.prepare import check_settings, make_topics
from streams.engines.snapshot import check_fits, fingerprint
from streams.sources import sources_of
from tidemill import state as states
from tidemill.engine import EngineKind, Parts, refuse_unless_fit
from tidemill.errors import IncompatibleError, NotFoundError, SubmissionError, TidemillError, UnavailableError
from tidemill.job import Job
from tidemill.log import Partition
from tidemill.order import EventTime
from tidemill.state import StateStore

STOP_SECONDS, END_SECONDS = 20.0, 8.0
"""What a savepoint may take before the job is cancelled instead, at its newest checkpoint; and then its end. Together
less than the supervisor gives a process."""

GONE_SECONDS, GONE_STOPPING = 30.0, 10.0
"""For how long a cluster that answers may not know a job before it is put there again, or held to be stopped: a
JobManager that has just come up reads what it ran before."""


Starts = Sequence[tuple[str, int, int]]
"""Topic, partition, offset."""


class OnCluster(msgspec.Struct, kw_only=True):
    """What is written down of a job on a cluster.

    `restore` is a savepoint or checkpoint; with `stopped` the one to start from, else at least that one and maybe a
    newer beside it. `given` is the savepoint that was asked for: it counts once. `ran` is the digest of what was put
    there, code and choices: what runs under the id is that, whatever is wanted now. `mode` is the one
    that its state is kept in.
    """

    engine: str = "flink"
    fingerprint: dict[str, str]
    id: str
    starts: list[tuple[str, int, int]]
    streams: list[str]
    after: int
    restore: str = ""
    stopped: bool = False
    given: str = ""
    ran: str = ""
    mode: str = "process"


class FlinkEngine(EngineKind):
    """An `Engine` on the cluster at the URL `url`. `worker` and `options` tell the operators how to load the job where
    they run (`setting.Setting`), `environment` is that of the process that submits."""

    name: ClassVar[str] = "flink"
    provides: ClassVar[frozenset[str]] = frozenset(
        {"event_time", "timers", "exactly_once", "versions", "deltas", "rescale"}
    )
    options: ClassVar[frozenset[str]] = frozenset(Choices.__struct_fields__)

    def __init__(
        self,
        url: str,
        flow: Flow,
        worker: str,
        options: Mapping[str, Any],
        environment: Mapping[str, str],
        *,
        snapshot_every: float = 10.0,
    ) -> None:
        self.url, self.flow = url, flow
        self._worker, self._options, self._environment = worker, dict(options), dict(environment)
        self._snapshot_every = snapshot_every

    @staticmethod
    def check_options(job: str, options: Mapping[str, str]) -> None:
        """Raises `SubmissionError`, naming the option, for what would lose data or can never work."""
        check(job, Flow(kafka={}, choices=choices_of(job, options)))

    @staticmethod
    def topics(job: str) -> list[str]:
        """Where the clocks of quiet partitions stand."""
        return [idling.topic_of(job)]

    @staticmethod
    def check_saved(job: Job[Any], saved: bytes) -> None:
        """Raises `IncompatibleError` where what was written down is of a job that `job` cannot go on from."""
        check_fits(job, decode(job.name, saved).fingerprint)

    def run(self, job: Job[Any], parts: Parts, stop: Callable[[], bool]) -> None:
        """Run on the cluster until `stop()`, then stop with a savepoint; what should have stopped before is only
        stopped. While brokers or the cluster do not answer it waits and tries again.

        Raises `UnavailableError` where the job could not be stopped and may still run; `SubmissionError` for settings
        that cannot work or lose data, `IncompatibleError` where the saved state does not fit or the name is taken on
        the cluster, and `TidemillError` with the reason where the job fails there.
        """
        refuse_unless_fit(job, self, [self])
        check_settings(job, parts)
        check(job.name, self.flow)
        patience = Patience()
        watch = Watch(job, parts, self.url, self.flow.choices)
        asked: float | None = None
        while True:
            if asked is None and stop():
                asked = time.monotonic()
            cluster = Cluster(self.url)
            try:
                if asked is None:
                    make_topics(job, parts)
                return self._tend(job, parts, cluster, watch, stop)
            except (UnavailableError, NotFoundError) as error:
                if asked is not None and time.monotonic() - asked > STOP_SECONDS:
                    raise  # it was not stopped, and whoever asks is to know
                pause = patience.pause(error)
                watch.waiting(error, pause)
                wait(pause, stop) if asked is None else time.sleep(min(pause, 1.0))
            finally:
                cluster.close()

    def _tend(self, job: Job[Any], parts: Parts, cluster: Cluster, watch: Watch, stop: Callable[[], bool]) -> None:
        """One life of the job on the cluster, until it is stopped as asked."""
        known = self._known(job, parts)
        runs = known
        if known is None or known.stopped or not self._there(job, parts, cluster, known, stop):
            runs = None
        elif known.ran != self._ran and not stop():
            # It could not be stopped before something else was wanted of it.
            self._stop(job, parts, cluster, known, watch)
            runs = None
        if runs is None:
            if stop():
                return
            runs = self._submit(job, parts, cluster, known)
        watch.began(runs.id, runs.starts)
        quiet = _idling(job, parts, runs)
        try:
            while not stop():
                self._look(job, parts, cluster, runs, watch)
                if quiet is not None:
                    quiet.look(list(watch.shards.values()))
                time.sleep(0.2)
        finally:
            if quiet is not None:
                quiet.close()
        watch.state = "stopping"
        self._stop(job, parts, cluster, runs, watch)
        watch.tell(cluster, force=True)

    def _there(self, job: Job[Any], parts: Parts, cluster: Cluster, known: OnCluster, stop: Callable[[], bool]) -> bool:
        """Whether the job is on the cluster and goes on there."""
        asked = time.monotonic()
        while True:
            try:
                state = cluster.state(known.id)
            except NotFoundError:
                if time.monotonic() - asked > (GONE_STOPPING if stop() else GONE_SECONDS):
                    return False
                time.sleep(0.5)
                continue
            if state not in rest.ENDED:
                return True
            cluster.await_statistics()
            if state == "FINISHED" and (at := cluster.stopped_at(known.id)):
                # Whoever stopped it was killed before writing that down. What the savepoint holds is committed.
                known.restore, known.stopped = at, True
                _keep(parts.store, job.name, known)
            return False

    def _look(self, job: Job[Any], parts: Parts, cluster: Cluster, known: OnCluster, watch: Watch) -> None:
        state = watch.tell(cluster)
        if watch.checkpoint and watch.checkpoint != known.restore:
            known.restore = watch.checkpoint
            _keep(parts.store, job.name, known)
        if state in rest.ENDED:
            why = cluster.why(known.id)
            # What Python raises again and again is the job's own, unless it says that something did not answer.
            own = state == "FAILED" and rest.is_python(why) and not any(kind.__name__ in why for kind in PASSING)
            raise (SubmissionError if own else TidemillError)(
                f"the job ended on the cluster: {state}",
                where=f"job {job.name} ({known.id} at {self.url})",
                got=why or "no reason given",
                fix=f"See `tidemill job logs {job.name}` and the cluster's page.",
            )

    def _known(self, job: Job[Any], parts: Parts) -> OnCluster | None:
        found = parts.store.load(job.name)
        if found is None:
            return None
        known = decode(job.name, found[1])
        check_fits(job, known.fingerprint)
        return known

    def _submit(self, job: Job[Any], parts: Parts, cluster: Cluster, known: OnCluster | None) -> OnCluster:
        check_name(cluster, job.name)
        sources = sorted(sources_of(job, parts.streams, parts.log, {}), key=lambda s: s.partition)
        starts = [(s.partition.topic, s.partition.number, parts.log.begin(s.partition)) for s in sources]
        restore = self.flow.choices.savepoint
        if known is not None:
            check_mode(job.name, known, self.flow.choices.mode)
            _check_partitions(job, known.starts, starts)
            starts = known.starts
            if not restore or self.flow.choices.given == known.given:
                restore = known.restore if known.stopped else newest(cluster, known)
        parts.log.create(idling.topic_of(job.name), idling.topic(len(sources)))
        after = known.after if known is not None else _newest(job, parts)
        new = OnCluster(
            fingerprint=fingerprint(job),
            id=uuid.uuid4().hex,
            starts=starts,
            streams=[s.stream for s in sources],
            after=after,
            restore=restore,
            given=self.flow.choices.given,
            ran=self._ran,
            mode=self.flow.choices.mode,
        )
        _keep(parts.store, job.name, new)
        try:
            submit(self._order(job, new, restore), self._environment)
        except SubmissionError:
            # It is not there, and never was.
            if known is None:
                parts.store.clear(job.name)
            else:
                _keep(parts.store, job.name, known)
            raise
        return new

    @property
    def _ran(self) -> str:
        """The digest of what this engine puts on a cluster."""
        plain = msgspec.structs.replace(self.flow.choices, savepoint="", savepoint_asked="")
        told = {k: v for k, v in self._options.items() if k != "options"}
        return states.digest(msgspec.json.encode((self._worker, told, plain), order="deterministic"))

    def _order(self, job: Job[Any], new: OnCluster, restore: str) -> Order:
        setting = Setting(
            job=job.name,
            worker=self._worker,
            options=self._options,
            starts=new.starts,
            streams=new.streams,
            shards=min(job.groups, MAX_SHARDS),
            mode=self.flow.choices.mode,
            after=new.after,
            snapshot_every=self._snapshot_every,
        )
        prefix = prefix_of(job.name, self.flow.choices)
        return Order(
            setting=setting,
            flow=self.flow,
            rest=self.url,
            id=new.id,
            prefix=prefix,
            written=topics(job),
            restore=restore,
        )

    def _stop(self, job: Job[Any], parts: Parts, cluster: Cluster, known: OnCluster, watch: Watch) -> None:
        """With a savepoint; where none comes in time, by cancelling it: then its newest checkpoint counts."""
        # One that waits for slots can take no savepoint.
        waits = cluster.waits_for(known.id).startswith(rest.NO_SLOTS)
        until = time.monotonic() + (0.0 if waits else STOP_SECONDS)
        folder = self.flow.savepoints or None
        while True:
            try:
                known.restore = cluster.stop(known.id, folder, max(1.0, until - time.monotonic()))
                watch.savepoint = known.restore
                break
            except TidemillError:
                if time.monotonic() + 1.0 < until and cluster.state(known.id) not in rest.ENDED:
                    time.sleep(0.5)  # it is just restarting, or a checkpoint was declined
                    continue
                if cluster.state(known.id) not in rest.ENDED:
                    cluster.cancel(known.id)
                _await_end(cluster, known.id)
                cluster.await_statistics()
                known.restore = newest(cluster, known)
                break
        _await_end(cluster, known.id)
        known.stopped = True
        _keep(parts.store, job.name, known)


def newest(cluster: Cluster, known: OnCluster) -> str:
    """The newest checkpoint of a job that is not known to have stopped, else what it was started from. It may be one
    that whoever tended it has not lived to see."""
    seen = ""
    with suppress(NotFoundError):
        # A savepoint that came too late for whoever stopped the job has committed what it holds all the same.
        seen = cluster.newest(known.id)
    if not seen and (folder := cluster.checkpoints()):
        # A cluster that has come up again knows of no checkpoint before its first.
        seen = f"{folder}/{known.id}/chk-0"
    own = rest.newest_checkpoint(seen)
    return own if own and not own.endswith("/chk-0") else rest.newest_checkpoint(known.restore)


def check_name(cluster: Cluster, job: str, known: str = "") -> None:
    """Raises `IncompatibleError` where a job of that name runs on the cluster that is not `known`, its id there."""
    for there in cluster.jobs():
        if there["name"] == f"tidemill.{job}" and there["state"] not in rest.ENDED and there["jid"] != known:
            raise IncompatibleError(
                "a job runs under that name on the cluster, and it is not the one that was started from here",
                where=f"job {job} at {cluster.url}",
                got=f"Flink job {there['jid']}",
                fix="Cancel it there, or submit under another name.",
            )


def check_mode(job: str, known: OnCluster, mode: str) -> None:
    """Raises `IncompatibleError` where the state was kept in another mode: PyFlink does not find it in this one."""
    if known.mode != mode:
        raise IncompatibleError(
            "the state was kept in another mode, and does not move between them",
            where=f"job {job}, option mode",
            wanted=known.mode,
            got=mode,
            fix=f"Submit it with --option mode={known.mode}, or with --reset to learn again from the log.",
        )


def decode(job: str, data: bytes) -> OnCluster:
    """What `_keep` wrote. Raises `IncompatibleError` where another engine wrote it."""
    try:
        return msgspec.json.decode(data, type=OnCluster)
    except msgspec.DecodeError:
        raise IncompatibleError(
            "the job ran on another engine, and its state does not move between engines",
            where=f"job {job}",
            fix="Submit under a new name, or with --reset to learn again from the log: the answer is the same.",
        ) from None


def _keep(store: StateStore, job: str, known: OnCluster) -> None:
    before = store.load(job)
    store.save(job, (before[0] if before else 0) + 1, msgspec.json.encode(known))


def _check_partitions(job: Job[Any], before: Starts, now: Starts) -> None:
    had, have = [(t, n) for t, n, _ in before], [(t, n) for t, n, _ in now]
    if had != have:
        raise IncompatibleError(
            "the partitions that the job reads changed",
            where=f"job {job.name}",
            wanted=", ".join(f"{t}/{n}" for t, n in had),
            got=", ".join(f"{t}/{n}" for t, n in have),
            fix="Submit under a new name, or with --reset to learn again from the log.",
        )


def _idling(job: Job[Any], parts: Parts, known: OnCluster) -> Idling | None:
    order = job.order
    if not isinstance(order, EventTime) or order.idle_after is None:
        return None
    sources = [Partition(topic, number) for topic, number, _ in known.starts]
    return Idling(job.name, parts.log, sources, order.idle_after, order.lateness)


def _newest(job: Job[Any], parts: Parts) -> int:
    if parts.publisher is None:
        return 0
    return parts.publisher.newest(job.name, job.live.models(job.init()).keys())


def _await_end(cluster: Cluster, job: str) -> None:
    deadline = time.monotonic() + END_SECONDS
    while cluster.state(job) not in rest.ENDED:
        if time.monotonic() > deadline:
            raise UnavailableError("the job does not end", where=f"Flink job {job} at {cluster.url}")
        time.sleep(0.1)
