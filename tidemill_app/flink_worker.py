"""What an operator on a Flink cluster loads: the submitted job and its parts, as the job's own process would."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tidemill.engine import Parts
from tidemill.errors import ConfigError
from tidemill.events import JobChanged
from tidemill.job import Job
from tidemill_app.flink_packing import bundle_beside
from tidemill_app.run_job import parts_of, submitted_job
from tidemill_app.wiring import Platform

_told: dict[str, str] = {}
"""What an earlier job of this process was told; in thread mode a process works many."""


def load(options: dict[str, Any]) -> tuple[Job[Any], Parts]:
    """The job that `options` name and its parts. What the machine's own environment says goes before what the
    submitter's said; secrets come from there only.

    The code is the bundle that came along with the job, of the digest that was submitted, or else comes from the
    artefact store. Raises `SignatureError` where no key that is trusted on this machine has signed that, `ConfigError`
    where this process has worked a job in another environment, which it cannot leave.
    """
    _tell(options["job"], options["environment"])
    home = os.environ.get("TIDEMILL_HOME") or options["home"] or Path.home() / ".tidemill"
    platform = Platform.open(home, needs=("kafka",))
    wish = JobChanged(
        id="",
        time=0,
        job=options["job"],
        wanted="running",
        bundle=options["bundle"],
        file=options["file"],
        engine=options["engine"],
        options=options["options"],
    )
    job = submitted_job(platform, wish, bundle_beside(wish.bundle))
    return job, parts_of(platform, job, wish, lambda status: None)


def _tell(job: str, environment: dict[str, str]) -> None:
    if _told and _told != environment:
        names = sorted(name for name, _ in _told.items() ^ environment.items())
        raise ConfigError(
            "in thread mode a TaskManager works jobs of one environment, and it began with another",
            where=f"job {job}, environment",
            got=", ".join(dict.fromkeys(names)),
            fix="Start the TaskManager anew, or submit with --option mode=process.",
        )
    _told.update(environment)
    for name, value in environment.items():
        os.environ.setdefault(name, value)
