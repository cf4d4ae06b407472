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
    """One copy for each model that is asked of a state, of the newest code of its job."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._copies: dict[str, Replica[Any]] = {}

    def follow(self, endpoint: Endpoint) -> None:
        """Make and follow the copy that `endpoint` asks for; one of older code goes."""
        job = endpoint.replica
        if job is None:
            return
        try:
            made = Replica(job, parts_of(self._platform, job))
        except TidemillError as error:
            _log.error("endpoint %s: its graph is not followed: %s", endpoint.name, error)
            return
        before = self._copies.get(endpoint.model)
        self._copies = {**self._copies, endpoint.model: made}
        if before is not None:
            before.close()
        made.start()

    def of(self, model: str) -> Replica[Any] | None:
        return self._copies.get(model)

    def all(self) -> list[Replica[Any]]:
        return list(self._copies.values())

    def close(self) -> None:
        for copy in self._copies.values():
            copy.close()
