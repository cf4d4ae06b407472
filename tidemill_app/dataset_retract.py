"""Retracting an item, or its label: later versions leave it out, and those that saw it are named."""

from __future__ import annotations

from typing import Any

import numpy as np

from connectors import arrow
from connectors.datasets.version import DATASET, DatasetManifest, decode_dataset
from tidemill import events
from tidemill.block import Block, Place
from tidemill.decode import Decoder, type_of
from tidemill.errors import BadEvent, NotFoundError, TidemillError
from tidemill.events import LabelGiven
from tidemill.log import MAX_RECORD_BYTES
from tidemill.run_events import ItemRetracted
from tidemill.version import Span
from tidemill_app.dataset_log import DatasetLog, new_id
from tidemill_app.dataset_log import retract as record
from tidemill_app.erasing import versions_that_read
from tidemill_app.reading import pieces, read_all
from tidemill_app.wiring import Platform


def retract(platform: Platform, project: str, item: str, *, label_only: bool, reason: str) -> dict[str, Any]:
    """Record the retraction; whether it is `new`, and the `datasets` and `models` (`NAME@VERSION`) that saw it.

    A version of a data set saw an item where its ranges hold the item's event, and it was not retracted then; a label
    where they hold a label about it; one without examples saw nothing. A model saw what its lineage covers. Again:
    nothing is recorded. Raises `NotFoundError` for an item, or a label, that the log does not hold.
    """
    places = _labels(platform, project, item) if label_only else _items(platform, project, item)
    if not places:
        what = "no label about this item" if label_only else "no such item"
        raise NotFoundError(what, where=f"project {project}", got=repr(item))
    there = DatasetLog(platform.log)
    before = [r for r in there.retracted(project) if r.about == item]
    known = any(not r.label_only or label_only for r in before)
    if label_only and known and before[0].label_only:
        known = before[0].time >= _newest_time(platform, project, item)
    if not known:
        event = ItemRetracted(
            id=new_id(),
            time=platform.clock.now(),
            source="/datasets",
            stream=project,
            about=item,
            label_only=label_only,
            reason=reason,
        )
        record(platform.log, event)
    saw = []
    for version in there.versions:
        try:
            manifest = decode_dataset(platform.artefacts.get_signed(DATASET, version.digest))
        except (TidemillError, BadEvent):
            continue  # not a sound version: `dataset show` says so
        if manifest.project == project and _saw(manifest, item, places, label_only):
            saw.append(f"{version.dataset}@{version.version}")
    return {
        "project": project,
        "about": item,
        "label_only": label_only,
        "new": not known,
        "places": places,
        "datasets": saw,
        "models": versions_that_read(platform.artefacts, places),
    }


def _saw(manifest: DatasetManifest, item: str, places: list[Place], label_only: bool) -> bool:
    if not manifest.examples or any(r.about == item and (label_only or not r.label_only) for r in manifest.retracted):
        return False
    spans = manifest.labels if label_only else manifest.data
    return any(
        (s.topic, s.partition) == (p.topic, p.partition) and s.first <= p.offset < s.next for s in spans for p in places
    )


def _items(platform: Platform, project: str, item: str) -> list[Place]:
    """Where events of this id stand in the project's stream."""
    log, spec = platform.log, platform.catalogue().get(project)
    decoder = Decoder(spec, arrow.decode, max_event_bytes=MAX_RECORD_BYTES)
    found = []
    for p in log.partitions(spec.topic):
        for records in pieces(log, Span(p.topic, p.number, log.begin(p), log.end(p)), 500):
            for block in decoder.decode(records):
                if isinstance(block, Block):
                    found += [block.place(i) for i in np.flatnonzero(block.ids == item).tolist()]
    return found


def _labels(platform: Platform, project: str, item: str) -> list[Place]:
    """Where labels about the item stand."""
    return [place for place, _ in _given(platform, project, item)]


def _newest_time(platform: Platform, project: str, item: str) -> int:
    return max((event.time for _, event in _given(platform, project, item)), default=0)


def _given(platform: Platform, project: str, item: str) -> list[tuple[Place, LabelGiven]]:
    topic = f"labels.{project}"
    found = []
    for r in read_all(platform.log, topic) if topic in platform.log.topics() else ():
        if type_of(r) != "label.given.v1":
            continue
        try:
            event = events.decode(r.value or b"")
        except BadEvent:
            continue
        if isinstance(event, LabelGiven) and event.about == item:
            found.append((Place(r.topic, r.partition, r.offset), event))
    return found
