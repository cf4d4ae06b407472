"""Which items a version of weights learned from: what it may not be judged by."""

from __future__ import annotations

from streams.archived import ArchivedLog
from tidemill.version import Lineage
from tidemill_app import datasets
from tidemill_app.recorded_labels import covers, labels_in
from tidemill_app.wiring import Platform
from training.config import Continual, Training


def learned(platform: Platform, training: Training, lineage: Lineage) -> set[tuple[str, str]]:
    """Topic and id of every item that weights of this lineage learned from.

    Of a run on a data set it is the part that was trained on. Of a continual run it is the items that the labels in
    `lineage.segments` are about: exactly those that came into a step, whatever a data set says. Raises `GoneError`
    where neither the log nor its archive holds these labels any more.
    """
    data = training.data
    if not isinstance(data, Continual):
        return {(e.topic, e.id) for e in datasets.load(platform, lineage.dataset).examples(data.train)}
    topic = platform.catalogue().get(data.project).topic
    whole = ArchivedLog(platform.log, covers(lineage.segments), platform.archive)
    return {(topic, event.about) for event in labels_in(whole, lineage.segments).values()}
