"""Whose code answers at which endpoint: that of job files named, or of every submitted job, as jobs change."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tidemill.endpoint import Endpoint
from tidemill.errors import SubmissionError, TidemillError, UnavailableError
from tidemill.events import JobChanged
from tidemill.version import Lineage
from tidemill_app.job_file import Target, load_job
from tidemill_app.job_table import REMOVED
from tidemill_app.measuring import MEASURES
from tidemill_app.run_job import submitted_job
from tidemill_app.wiring import Platform

_log = logging.getLogger("tidemill.serving")


def of_files(files: Sequence[str]) -> list[Endpoint]:
    """The endpoints of the jobs in `files` (`path.py[:function]`).

    Raises `SubmissionError` where a file's job has no endpoint, or two endpoints have one name.
    """
    found = []
    for text in files:
        target = Target.parse(text)
        endpoint = load_job(target.path, target.function).endpoint
        if endpoint is None:
            raise SubmissionError("the job has no endpoint", where=text, fix="Set `endpoint=` of its Job.")
        found.append(endpoint)
    names = [endpoint.name for endpoint in found]
    if doubled := sorted({n for n in names if names.count(n) > 1}):
        raise SubmissionError("two endpoints have one name", got=", ".join(doubled))
    return found


class Submitted:
    """The endpoints of submitted jobs, each bundle loaded once. A job whose code cannot be loaded is named in
    `refused`, and keeps nobody else from answering."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._loaded: dict[tuple[str, str], Endpoint | None] = {}
        self._owner: dict[str, str] = {}
        self._again: dict[str, JobChanged] = {}
        self.refused: dict[str, str] = {}

    def taken(self, wish: JobChanged) -> Endpoint | None:
        """The endpoint that answers with this code from now on; None where nothing is to be taken up.

        Where two jobs have an endpoint of one name, the one that was submitted or started last has it. Raises
        `UnavailableError` where the store does not answer.
        """
        if wish.answers or wish.wanted == REMOVED or MEASURES in wish.options:
            return None  # what became of a job changes nobody's code, and what measures has its owner's
        endpoint = self._endpoint(wish.job, wish.bundle, wish.file)
        if endpoint is None:
            self._again[wish.job] = wish
            return None
        self._again.pop(wish.job, None)
        owner = self._owner.get(endpoint.name, wish.job)
        if owner != wish.job and wish.wanted != "running":
            return None
        if owner != wish.job:
            _log.warning("endpoint %s: job %s takes it over from job %s", endpoint.name, wish.job, owner)
        self._owner[endpoint.name] = wish.job
        return endpoint

    def reconsidered(self) -> list[JobChanged]:
        """What was refused is forgotten, since other keys are trusted now; the wishes to be taken again."""
        self._loaded = {code: endpoint for code, endpoint in self._loaded.items() if endpoint is not None}
        self.refused.clear()
        return list(self._again.values())

    def of(self, lineage: Lineage) -> Endpoint | None:
        """The endpoint as the code of a published version has it."""
        return self._endpoint(lineage.job, lineage.bundle, lineage.file)

    def _endpoint(self, job: str, bundle: str, file: str) -> Endpoint | None:
        if not bundle:
            return None
        if (bundle, file) not in self._loaded:
            wish = JobChanged(id="", time=0, job=job, wanted="", bundle=bundle, file=file)
            try:
                self._loaded[bundle, file] = submitted_job(self._platform, wish).endpoint
            except UnavailableError:
                raise
            except TidemillError as error:
                # Kept: the same bytes would fail again, unless another key is trusted.
                self._loaded[bundle, file] = None
                self.refused[f"{job} {bundle[:12]}"] = str(error)
                _log.error("job %s: its endpoint is not served: %s", job, error)
        return self._loaded[bundle, file]
