"""Copies of jobs' states for a scoring server: whose endpoint is asked of a graph, that graph is followed here."""

from __future__ import annotations

import logging
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
    """The copies that models are asked of. Where a job's code changes, the copy of the code before answers until the
    new one can."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._copies: dict[str, tuple[Replica[Any], ...]] = {}  # the newest first; replaced, never edited

    def follow(self, endpoint: Endpoint) -> None:
        """Make and follow the copy that `endpoint` asks for."""
        job = endpoint.replica
        if job is None:
            return
        try:
            made = Replica(job, parts_of(self._platform, job))
        except TidemillError as error:
            _log.error("endpoint %s: its graph is not followed: %s", endpoint.name, error)
            return
        self._copies = {**self._copies, endpoint.model: (made, *self._copies.get(endpoint.model, ()))}
        made.start()

    def of(self, model: str) -> Replica[Any] | None:
        """The newest copy that can be asked, else the newest."""
        copies = self._copies.get(model, ())
        for at, copy in enumerate(copies):
            if copy.ready:
                if copies[at + 1 :]:
                    for older in copies[at + 1 :]:
                        older.close(wait=False)
                    self._copies = {**self._copies, model: copies[: at + 1]}
                return copy
        return copies[0] if copies else None

    def all(self) -> list[Replica[Any]]:
        return [copy for model in self._copies if (copy := self.of(model)) is not None]

    def close(self) -> None:
        for copies in self._copies.values():
            for copy in copies:
                copy.close()
