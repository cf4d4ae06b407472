"""What the process that tends a job on a cluster tells of it, about once a second."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from streams import progress
from streams.engines.flink.flow import Choices
from streams.engines.flink.rest import NO_SLOTS, Cluster
from streams.engines.recovery import Positions
from tidemill import events
from tidemill.engine import Parts
from tidemill.errors import NotFoundError, TidemillError, UnavailableError
from tidemill.events import ProgressMade
from tidemill.job import Job
from tidemill.log import Partition, Reader
from tidemill.time import MIN_TIME

_EVERY = 1.0
_STATES = {
    "RUNNING": "running",
    "RESTARTING": "restarting",
    "FAILING": "restarting",
    "CANCELLING": "stopping",
    "FAILED": "failed",
    "CANCELED": "failed",
}


class Watch:
    """Follows a job's progress in its topic and its standing on the cluster, and reports both together."""

    def __init__(self, job: Job[Any], parts: Parts, url: str, choices: Choices) -> None:
        self.state = "starting"
        self.checkpoint = self.savepoint = ""
        self.shards: dict[int, ProgressMade] = {}
        self._job, self._parts, self._url, self._choices = job, parts, url, choices
        self._id = ""
        self._error = ""
        self._checkpoint_id: int | None = None
        self._told = 0.0
        self._flink = ""
        self._reader: Reader | None = None
        self._before: tuple[float, int] | None = None
        self._starts: Positions = {}

    def began(self, id: str, starts: Sequence[tuple[str, int, int]]) -> None:
        """The job is on the cluster under `id`."""
        self._id, self._error = id, ""
        self._starts = {Partition(topic, number): at for topic, number, at in starts}
        at = progress.topic_of(self._job.name)
        if self._reader is None:
            self._reader = self._parts.log.reader({at: self._parts.log.begin(at)})

    def waiting(self, error: Exception, seconds: float) -> None:
        """The cluster or the brokers do not answer; trying again in `seconds`."""
        self._error = f"{type(error).__name__}: {error}"
        self._parts.report({"job": self._job.name, "state": "waiting", "last_error": self._error, "retry_in": seconds})

    def tell(self, cluster: Cluster, *, force: bool = False) -> str:
        """Report, where a second has passed since the last report. The state that Flink gives the job."""
        now = time.monotonic()
        if now - self._told < _EVERY and not force:
            return self._flink
        self._told = now
        self._flink = cluster.state(self._id)
        checkpoint = cluster.checkpoint(self._id)
        waits = cluster.waits_for(self._id) if self._flink == "RUNNING" else ""
        if self._flink != "RUNNING":
            self._error = cluster.why(self._id) or self._error
        elif waits:
            self._error = why = cluster.why(self._id) or waits
            if waits.startswith(NO_SLOTS) and why != waits:
                # Without slots nothing goes on, whatever it was that went wrong before.
                self._error = f"{waits}; before that: {why}"
        elif checkpoint.get("id") != self._checkpoint_id:
            self._error = ""  # what went wrong is shown until a checkpoint succeeds after it
        self._checkpoint_id = checkpoint.get("id")
        self.checkpoint = str(checkpoint.get("external_path") or self.checkpoint)
        self._follow()
        if self.state != "stopping":
            self.state = "starting" if waits else _STATES.get(self._flink, "starting")
        read = sum(at - self._starts.get(p, 0) for p, at in self._positions().items())
        since, before = self._before or (now, read)
        self._before = (now, read)
        self._parts.report(
            self._facts(checkpoint)
            | {
                "records": read,
                "events_per_second": round(max(0.0, (read - before) / (now - since)), 1) if now > since else 0.0,
            }
        )
        return self._flink

    def _follow(self) -> None:
        assert self._reader is not None
        while records := self._reader.poll(1000, 0.0):
            for record in records:
                made = events.decode(record.value or b"")
                if isinstance(made, ProgressMade):
                    self.shards[made.shard] = made

    def _positions(self) -> Positions:
        """Up to where every shard has got, by partition."""
        out: Positions = {}
        for made in self.shards.values():
            for topic, number, at in made.offsets:
                p = Partition(topic, number)
                out[p] = min(out.get(p, at), at)
        return out

    def _facts(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        made = list(self.shards.values())
        emitted: dict[str, int] = {}
        for one in made:
            for output, count in one.emitted.items():
                emitted[output] = emitted.get(output, 0) + count
        mark = min((m.watermark for m in made), default=MIN_TIME)
        return {
            "job": self._job.name,
            "state": self.state,
            "flink": self._flink,
            "flink_job": self._id,
            "page": f"{self._url}/#/job/running/{self._id}",
            "mode": self._choices.mode,
            "parallelism": self._choices.parallelism,
            "lag": self._lag(),
            "watermark": None if mark == MIN_TIME else mark,
            "emitted": emitted,
            "dead": sum(m.dead for m in made),
            "steps": sum(m.steps for m in made),
            "stepped": sum(m.stepped for m in made),
            "labels": sum(m.labels for m in made),
            "buffered": sum(m.buffered for m in made),
            "sequence": max((m.sequence for m in made), default=-1),
            "versions": {k: v for m in made for k, v in m.versions.items()},
            "deltas": {k: v for m in made for k, v in m.deltas.items()},
            "last_commit": max((m.time for m in made), default=None),
            "last_checkpoint": checkpoint.get("latest_ack_timestamp", 0) * 1000 or None,
            "checkpoint_sequence": checkpoint.get("number"),
            "checkpoint_ms": checkpoint.get("end_to_end_duration"),
            "savepoint": self.savepoint,
            "last_error": self._error,
        }

    def _lag(self) -> dict[str, int | None]:
        lag: dict[str, int | None] = {}
        at = self._starts | self._positions()
        for p in sorted(at):
            try:
                lag[f"{p.topic}/{p.number}"] = max(0, self._parts.log.end(p) - at[p])
            except (UnavailableError, NotFoundError, TidemillError):
                lag[f"{p.topic}/{p.number}"] = None
        return lag
