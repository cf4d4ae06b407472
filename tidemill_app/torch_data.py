"""Versions of data sets, and labels as they come, for a training loop of one's own in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import get_worker_info

from tidemill.version import Span
from tidemill_app import datasets
from tidemill_app.label_tail import LabelTail
from tidemill_app.training_work import labels_of, media_of, packed_bytes
from tidemill_app.wiring import Platform
from training.config import Continual
from training.declared import with_declared
from training.parallel import Alone
from training.torch_data import LabelDataset, VersionDataset


def version_dataset(
    platform: Platform, version: str, task: Any, *, split: str = "train", batch: int = 64, **settings: Any
) -> VersionDataset:
    """The examples of a split of `NAME[@VERSION]` (`settings`: `seed`, `augmented`, `rank`, `world`).

    `task` decodes; it augments as the version declares. Their bytes are first gathered in one file in the home. Raises
    as `datasets.load` does, and `ConfigError` where the task augments otherwise.
    """
    found = datasets.load(platform, version)
    task = with_declared(task, found.manifest.augmentation, f"data set {found.manifest.name}@{found.version}")
    fetch = packed_bytes(platform, found, split, True, Alone())
    return VersionDataset(found.examples(split), fetch, task, batch=batch, **settings)


def label_dataset(
    platform: Platform,
    project: str,
    task: Any,
    *,
    dataset: str = "",
    test: str = "test",
    until_end: bool = False,
    spans: Sequence[Span] = (),
    **settings: Any,
) -> LabelDataset:
    """The labels of a project as they come, from behind `spans` on (`settings`: `seed`, `rank`, `world`).

    As in a continual run, retracted items are passed over, and what belongs to split `test` of `dataset`. A worker of a
    `DataLoader` connects to the brokers itself: a connection does not outlive a fork.
    """
    version = datasets.load(platform, dataset) if dataset else None
    if version is not None:
        task = with_declared(task, version.manifest.augmentation, f"data set {version.manifest.name}@{version.version}")
    data = Continual(project=project, dataset=dataset, test=test, until_end=until_end)
    tail = labels_of(platform, data, version)

    def source(index: int, of: int) -> LabelTail:
        reading = platform if get_worker_info() is None else Platform.open(platform.home.path, needs=("kafka",))
        return tail(reading, (index, of))

    topic = f"labels.{project}"
    return LabelDataset(source, media_of(platform), task, topic=topic, spans=spans, **settings)
