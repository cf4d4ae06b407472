"""What an operator on a Flink cluster loads: the submitted job and its parts, as the job's own process would."""

from __future__ import annotations

import os
from typing import Any

from tidemill.engine import Parts
from tidemill.events import JobChanged
from tidemill.job import Job
from tidemill_app.run_job import parts_of, submitted_job
from tidemill_app.wiring import Platform


def load(options: dict[str, Any]) -> tuple[Job[Any], Parts]:
    """The job that `options` name and its parts. What the machine's own environment says goes before what the
    submitter's said; secrets come from there only.

    Raises `SignatureError` where no key that is trusted on this machine has signed the code.
    """
    for name, value in options["environment"].items():
        os.environ.setdefault(name, value)
    platform = Platform.open(options["home"])
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
    job = submitted_job(platform, wish)
    return job, parts_of(platform, job, wish, lambda status: None)
