"""What an operator on a Flink cluster loads: the submitted job and its parts, as the job's own process would."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tidemill.engine import Parts
from tidemill.events import JobChanged
from tidemill.job import Job
from tidemill_app.flink_packing import bundle_beside
from tidemill_app.run_job import parts_of, submitted_job
from tidemill_app.wiring import Platform


def load(options: dict[str, Any]) -> tuple[Job[Any], Parts]:
    """The job that `options` name and its parts. What the machine's own environment says goes before what the
    submitter's said; secrets come from there only.

    The code is the bundle that came along with the job, of the digest that was submitted, or else comes from the
    artefact store. Raises `SignatureError` where no key that is trusted on this machine has signed that.
    """
    for name, value in options["environment"].items():
        os.environ.setdefault(name, value)
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
