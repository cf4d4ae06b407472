"""Which items a version of weights learned from: what it may not be judged by."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence

from connectors.datasets.assembling import gather_labels
from streams.archived import ArchivedLog
from tidemill.events import LabelGiven
from tidemill.version import Lineage, Span
from tidemill_app import datasets
from tidemill_app.reading import pieces
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
    return {(topic, event.about) for event in _labels(platform, lineage.segments)}


def _labels(platform: Platform, segments: Sequence[Span]) -> Iterator[LabelGiven]:
    """The labels in the segments, which are many short ones where labels in between were passed over: a partition is
    read once, from its first to its last."""
    runs: dict[tuple[str, int], list[Span]] = defaultdict(list)
    for span in sorted(segments):
        runs[span.topic, span.partition].append(span)
    covers = [Span(topic, p, spans[0].first, max(s.next for s in spans)) for (topic, p), spans in runs.items()]
    whole = ArchivedLog(platform.log, covers, platform.archive)
    for cover in covers:
        spans = runs[cover.topic, cover.partition]
        firsts = [s.first for s in spans]
        for records in pieces(whole, cover):
            for told in gather_labels(records):
                at = bisect_right(firsts, told.offset) - 1
                if isinstance(told.event, LabelGiven) and told.offset < spans[at].next:
                    yield told.event
