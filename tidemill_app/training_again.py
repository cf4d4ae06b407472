"""Training a version of weights anew from exactly what its lineage names, by one worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tidemill.log import Log
from tidemill.version import Lineage
from tidemill_app import datasets
from tidemill_app.recorded_labels import RecordedLabels
from tidemill_app.training_work import media_of, of_dataset, tested
from tidemill_app.wiring import Platform
from training.config import Continual, Training
from training.continual import ContinualFeed, Run
from training.feed import Feed
from training.loop import Loop, Parts, settle
from training.parallel import Alone
from training.report import Silent
from training.tensors import to_bytes


class Again(NamedTuple):
    """What came of it: the weights' bytes, how many examples were used, whether what was read is what the lineage
    names, and how many records of it were erased on request."""

    weights: bytes
    uses: int
    same: bool
    erased: int


class _Opened(NamedTuple):
    """What is learned from anew; `digest` names the data set's version, where there is one."""

    feed: Feed
    digest: str
    erased: int
    test: Callable[[], Any] | None


def train_again(platform: Platform, training: Training, lineage: Lineage, folder: Path, copy: Log | None) -> Again:
    """Train up to the lineage's step, in `folder`, from the log, and its archive of what the log has lost; or from a
    copied log alone.

    Raises `GoneError` naming the range of events or labels that is nowhere any more, before the first step.
    """
    device = settle(training, 1, lineage.threads, lineage.threads)
    opened = _opened(platform, training, lineage, copy)
    found: dict[int, tuple[bytes, Any]] = {}

    def due(weights: Any, figures: dict[str, float], checkpoint: Any) -> None:
        found[checkpoint.step] = to_bytes(weights), checkpoint

    outcome = Loop(training, Parts(folder, opened.feed, opened.test, Alone(), Silent(), device, due)).run(
        lambda: lineage.step in found
    )
    if outcome.step == lineage.step:
        found[outcome.step] = to_bytes(outcome.weights), outcome.checkpoint
    data, checkpoint = found.get(lineage.step, (to_bytes(outcome.weights), outcome.checkpoint))
    # Versions before there was such a digest have none to compare with.
    hashed = lineage.records_hash in ("", checkpoint.records_hash)
    same = checkpoint.uses == lineage.records and opened.digest == lineage.dataset_digest and hashed
    return Again(data, checkpoint.uses, same, opened.erased)


def _opened(platform: Platform, training: Training, lineage: Lineage, copy: Log | None) -> _Opened:
    """Raises `GoneError` and `DigestError` as `datasets.load`, and as `RecordedLabels`."""
    data = training.data
    named = bool(lineage.dataset_digest)
    version = datasets.load(platform, lineage.dataset, copy=copy) if named else None
    test = tested(platform, training, version, data.test, Alone()) if version is not None else None
    if isinstance(data, Continual):
        spec = platform.catalogue().get(data.project, lineage.streams.get(data.project))
        log, archive = (platform.log, platform.archive) if copy is None else (copy, None)
        items = platform.artefacts.get(lineage.items) if lineage.items else b"[]"
        labels = RecordedLabels(log, archive, spec, lineage, msgspec.json.decode(items, type=list[Run]))
        digest = version.digest if version is not None else ""
        media = media_of(platform)
        feed = ContinualFeed(training, labels, digest or data.project, media, Alone(), lambda: False, lineage.step)
        return _Opened(feed, digest, labels.erased, test)
    assert version is not None
    source, batches = of_dataset(platform, training, data, version, Alone())
    return _Opened(batches, source.digest, version.erased, test)
