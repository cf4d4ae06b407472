"""Copies of jobs' states for a scoring server: whose endpoint is asked of a graph, that graph is followed here."""

from __future__ import annotations

import logging
import threading
from typing import Any

from connectors import arrow
from streams.replica import Replica
from streams.state_store import FolderStore
from tidemill.endpoint import Endpoint
from tidemill.engine import Parts
from tidemill.errors import TidemillError
from tidemill.job import Job
from tidemill_app.run_job import file_log
from tidemill_app.wiring import Platform

_log = logging.getLogger("tidemill.serving")


def parts_of(platform: Platform, job: Job[Any]) -> Parts:
    """What a copy of `job` is made from. Raises `NotFoundError` for a stream that is not declared."""
    return Parts(
        log=platform.log,
        store=FolderStore(platform.home.path / "state"),
        clock=platform.clock,
        streams=platform.specs_of(job),
        objects=platform.artefacts,
        arrow_decode=arrow.decode,
        history=file_log,
        archive=platform.archive,
    )


class Copies:
    """The copies that models are asked of, one for each state of a job's code. Where the code changes, the copy of the
    code before answers until a model state of the new one is there, and its copy too."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._lock = threading.Lock()
        self._copies: dict[str, dict[str, Replica[Any]]] = {}  # by model and code, the newest last
        self._jobs: dict[str, str] = {}

    def follow(self, endpoint: Endpoint, code: str) -> None:
        """Make and follow the copy that `endpoint` asks for by this code, where there is none yet."""
        job = endpoint.replica
        if job is None or code in self._copies.get(endpoint.model, {}):
            return
        try:
            made = Replica(job, parts_of(self._platform, job), versioned=True)
        except TidemillError as error:
            _log.error("endpoint %s: its graph is not followed: %s", endpoint.name, error)
            return
        with self._lock:
            self._copies.setdefault(endpoint.model, {})[code] = made
            self._jobs[endpoint.model] = job.name
        made.start()

    def of(self, model: str, code: str = "") -> Replica[Any] | None:
        """The copy for a model state of this code; where there is none, the newest that can be asked, else the newest.
        Those of code before it are ended once it can be asked."""
        with self._lock:
            copies = self._copies.get(model, {})
            wanted = copies.get(code)
            if wanted is not None and wanted.ready:
                for older in list(copies):
                    if older == code:
                        break
                    copies.pop(older).close(wait=False)
            if wanted is not None:
                return wanted
            newest = list(copies.values())[::-1]
            return next((copy for copy in newest if copy.ready), newest[0] if newest else None)

    def drop(self, job: str) -> None:
        """End what is of a job that was removed."""
        with self._lock:
            for model in [model for model, owner in self._jobs.items() if owner == job]:
                del self._jobs[model]
                for copy in self._copies.pop(model).values():
                    copy.close(wait=False)

    def all(self) -> list[Replica[Any]]:
        with self._lock:
            return [copy for copies in self._copies.values() for copy in copies.values()]

    def close(self) -> None:
        for copy in self.all():
            copy.close()
