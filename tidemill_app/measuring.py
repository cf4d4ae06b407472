"""The jobs that measure answers as they were served: one beside each endpoint, of the code that its own job was
submitted with, run by the supervisor as any other; on the local engine, wherever the owner runs.

Such a job is named `<endpoint>-served` and is wanted, in the topic `jobs`, with the owner's bundle and the option
`measures`: the owner's name. So nothing new is stored or signed, and the label rule is the owner's own.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from streams.engines.patience import PASSING
from tidemill import events
from tidemill.endpoint import Endpoint
from tidemill.errors import BadEvent, SubmissionError
from tidemill.events import JobChanged, MetricsMeasured
from tidemill.job import Job
from tidemill.log import Partition
from tidemill_app.alive import living
from tidemill_app.job_table import JobTable
from tidemill_app.reading import read_spans
from tidemill_app.supervisor import NAME as SUPERVISOR
from tidemill_app.wiring import Platform

_log = logging.getLogger("tidemill.serving")

MEASURES = "measures"
_AGAIN_SECONDS = 5.0
_RECENT = 2_000
"""Records of metrics that are looked through for a version's."""


def name_of(endpoint: str) -> str:
    """The name of the job that measures what `endpoint` answers."""
    return f"{endpoint}-served"


def measuring_job(platform: Platform, owner: Job[Any]) -> Job[Any]:
    """The job that measures the answers of `owner`'s endpoint.

    Raises as `measuring_of`.
    """
    if owner.endpoint is None:
        raise SubmissionError("the job has no endpoint", where=f"job {owner.name}")
    return measuring_of(platform, owner.endpoint)


def measuring_of(platform: Platform, endpoint: Endpoint) -> Job[Any]:
    """The job that measures what `endpoint` answers.

    Raises `SubmissionError` where the endpoint names none, `NotFoundError` where its stream is not declared.
    """
    where = f"endpoint {endpoint.name}"
    if endpoint.measured is None:
        fix = "Set Endpoint(measured=...), as with streams.served."
        raise SubmissionError("nothing says what a label means", where=where, fix=fix)
    job = endpoint.measured(platform.catalogue().get(endpoint.stream))
    if job.name != name_of(endpoint.name):
        raise SubmissionError(
            "the job that measures has another name", where=where, wanted=name_of(endpoint.name), got=job.name
        )
    return job


def want(table: JobTable, endpoint: Endpoint, owner: JobChanged) -> JobChanged | None:
    """Have the endpoint's answers measured by the code of `owner`; what was told to the table, None where nothing was.

    A job that a user submitted under that name is left alone. One that was stopped stays stopped, and one that failed
    stays so until the code is another.
    """
    name = name_of(endpoint.name)
    table.refresh()
    before = table.jobs.get(name)
    code = {"bundle": owner.bundle, "file": owner.file, "engine": "local"}
    options = {MEASURES: owner.job}
    if before is None:
        return table.change(name, wanted="running", options=options, **code)
    if MEASURES not in before.options:
        _log.warning("endpoint %s: job %s is a user's own, and is left as it is", endpoint.name, name)
        return None
    if (before.bundle, before.file, before.engine, before.options) == (*code.values(), options):
        return None
    wanted = "stopped" if before.wanted == "stopped" else "running"
    return table.change(name, wanted=wanted, options=options, reason="", **code)


class Measuring:
    """Sees to it, beside a server, that what its endpoints answer is measured. In a thread of its own: whatever the
    log does meanwhile, no request and no version waits for it."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._todo: dict[str, tuple[Endpoint, JobChanged]] = {}
        self._said: dict[str, str] = {}
        self._some = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="measuring", daemon=True)

    def add(self, endpoint: Endpoint, owner: JobChanged) -> None:
        """The endpoint answers with the code of this wish from now on."""
        with self._some:
            self._todo[endpoint.name] = (endpoint, owner)
            self._some.notify()

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        with self._some:
            self._closing = True
            self._some.notify()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        table: JobTable | None = None
        while True:
            with self._some:
                self._some.wait_for(lambda: self._todo or self._closing)
                if self._closing:
                    break
                name = next(iter(self._todo))
                endpoint, owner = self._todo.pop(name)
            try:
                table = table or JobTable(self._platform.log, self._platform.clock)
                self._see_to(table, endpoint, owner)
            except PASSING as error:
                # The log is away, or the stream not declared yet: this can wait, and answering goes on.
                self._say(name, f"its answers are not measured yet: {error}")
                with self._some:
                    self._todo.setdefault(name, (endpoint, owner))  # unless something newer came
                    self._some.wait_for(lambda: self._closing, _AGAIN_SECONDS)
            except Exception as error:
                # `measured` is the user's: whatever it raises, the others are measured.
                self._say(name, f"its answers are not measured: {error}")
        if table is not None:
            table.close()

    def _see_to(self, table: JobTable, endpoint: Endpoint, owner: JobChanged) -> None:
        measuring_of(self._platform, endpoint)
        wish = want(table, endpoint, owner)
        if wish is not None and wish.wanted == "running" and not living(self._platform.home, SUPERVISOR):
            self._say(
                endpoint.name,
                f"job {wish.job}, which measures its answers, waits for a supervisor: none runs in this home "
                "(`tidemill up`, or `tidemill supervise`)",
            )

    def _say(self, endpoint: str, text: str) -> None:
        """Once, however often it is tried."""
        if self._said.get(endpoint) != text:
            self._said[endpoint] = text
            _log.warning("endpoint %s: %s", endpoint, text)


def served_figures(platform: Platform, model: str, version: str) -> dict[str, Any]:
    """What was measured last of the answers that a version gave, by the name of the job that measures: the time of the
    newest label, `count` labels, and the figures of `metrics.measured.v1`; nothing of a version not measured lately."""
    found: dict[str, Any] = {}
    there = platform.log.topics()
    for wish in platform.jobs().jobs.values():
        topic = f"metrics.{wish.job}"
        # One that a user submitted, for a deployed model, say, is known by its name.
        if not (MEASURES in wish.options or wish.job.endswith(name_of(""))) or topic not in there:
            continue
        at = Partition(topic, 0)
        end = platform.log.end(at)
        for record in read_spans(platform.log, {at: (max(platform.log.begin(at), end - _RECENT), end)}):
            try:
                event = events.decode(record.value or b"")
            except BadEvent:
                continue
            if isinstance(event, MetricsMeasured) and event.version == f"{model}@{version}":
                found[wish.job] = {"time": event.time, "count": event.count, "values": event.values}
    return found
