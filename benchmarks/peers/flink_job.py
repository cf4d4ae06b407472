"""Our job of `benchmarks/flink.py`, as the cluster's workers load it: no peer is imported here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from benchmarks.peers.shared import LR, NAMES
from connectors import arrow
from connectors.artefacts import ArtefactStore
from connectors.kafka import KafkaLog
from streams.classifier import online_classifier
from streams.learners.logistic import ScaledLogistic
from streams.state_store import FolderStore
from tidemill.engine import Parts
from tidemill.job import Job
from tidemill.stream import StreamSpec
from tidemill.time import SystemClock
from tidemill_app.publisher import ArtefactPublisher

CARRIERS = 16


def job_of(name: str, keyed: bool = False) -> Job[Any]:
    """The job under test: one model, or one for each carrier."""
    shared: dict[str, Any] = {"features": NAMES, "label": "late", "positive": 1, "log_features": False}
    shared |= {"name": name, "stream": "bench", "metrics_every": 100_000, "version_every": None}
    if keyed:
        return online_classifier(per="carrier", groups=CARRIERS, **shared)
    return online_classifier(learner=lambda names: ScaledLogistic(names, lr=LR, intercept_lr=LR), **shared)


def parts_of(bootstrap: str, spec: StreamSpec, folder: str) -> Parts:
    """What the job works with; its states and artefacts are in `folder`."""
    log = KafkaLog({"bootstrap.servers": bootstrap})
    store = ArtefactStore(f"{folder}/artefacts", Path(folder) / "key.pem")
    return Parts(
        log=log,
        store=FolderStore(f"{folder}/state"),
        clock=SystemClock(),
        streams={"bench": spec},
        publisher=ArtefactPublisher(store, log, SystemClock()),
        arrow_decode=arrow.decode,
        arrow_encode=arrow.encode,
    )


def load(options: dict[str, Any]) -> tuple[Job[Any], Parts]:
    """What the operators load on the cluster."""
    spec = msgspec.convert(options["spec"], StreamSpec)
    return job_of(options["name"], options["keyed"]), parts_of(options["bootstrap"], spec, options["folder"])
