"""Weights that a run trained: published as a version with its lineage, loaded again, and trained anew to compare."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from tidemill.errors import UserError
from tidemill.events import ModelPublished
from tidemill.log import Log
from tidemill.state import content_digest, digest
from tidemill.version import WEIGHTS, Lineage, Manifest, Span, cpu_class
from tidemill_app import datasets
from tidemill_app.bundle import SIGNED, decode, unpack
from tidemill_app.published import Published, publish_version
from tidemill_app.publisher import lock_digest
from tidemill_app.run_file import load_run, need_torch
from tidemill_app.wiring import Platform
from training.config import Training
from training.declared import with_declared

if TYPE_CHECKING:
    import torch

    from training.checkpoint import Checkpoint
    from training.tensors import Tensors

FILE = "weights.safetensors"


class Source(NamedTuple):
    """What a run learns from: `order` (`epochs` or `labels`), `dataset` (`NAME@VERSION`), its `digest`, the ranges of
    the log that it is made of, and by which versions of declarations events are read."""

    order: str
    dataset: str
    digest: str
    read: list[Span]
    streams: Mapping[str, int] = MappingProxyType({})


class Made(NamedTuple):
    """How a run was made: by which code, as what run, on what, by how many workers of how many threads."""

    run: str
    bundle: str
    entry: str
    source: Source
    workers: int
    threads: int
    device: str


def publish(
    platform: Platform,
    training: Training,
    made: Made,
    weights: Tensors,
    figures: dict[str, float],
    checkpoint: Checkpoint,
) -> ModelPublished:
    """Publish weights as the next version of `training.made`; where its newest is these very weights, that one."""
    from training.tensors import to_bytes

    name, data = training.made, to_bytes(weights)
    content = _content(training, made.bundle, data)
    published = Published(platform.log).refresh()
    mine = [e for (model, _), e in published.versions.items() if model == name]
    if mine and mine[-1].content_digest == content:
        return mine[-1]
    # In a file of its own, for it is as long as there are labels.
    items = platform.artefacts.put(msgspec.json.encode(checkpoint.items)) if checkpoint.items else ""
    manifest = Manifest(
        model=name,
        version=published.following(name),
        kind=WEIGHTS,
        content_digest=content,
        files={FILE: digest(data)},
        created=platform.clock.now(),
        params=training.deciding(),
        metrics=figures,
        lineage=platform.pin(_lineage(training, made, checkpoint, items)),
        lock_digest=lock_digest("torch"),
        cpu_class=cpu_class(),
    )
    return publish_version(platform, manifest, {FILE: data}, "/tidemill/train")


def _content(training: Training, bundle: str, data: bytes) -> str:
    return content_digest(WEIGHTS, training.deciding(), bundle, digest(data))


def _lineage(training: Training, made: Made, checkpoint: Checkpoint, items: str) -> Lineage:
    why = ""
    if made.workers > 1:
        why = f"trained by {made.workers} workers: how gradients were added up is not repeated to the bit"
    elif made.device != "cpu" or not training.deterministic:
        why = "trained on a GPU, or by algorithms that are not deterministic"
    source = made.source
    return Lineage(
        job=made.run,
        bundle=made.bundle,
        file=made.entry,
        order=source.order,
        read=sorted([*source.read, *checkpoint.offsets]),
        segments=checkpoint.segments,
        items=items,
        watermark=0,
        last=(0, "", ""),
        number=checkpoint.step,
        records=checkpoint.uses,
        records_hash=checkpoint.records_hash,
        streams=dict(source.streams),
        dataset=source.dataset,
        dataset_digest=source.digest,
        config=training.digest(),
        step=checkpoint.step,
        workers=made.workers,
        threads=made.threads,
        unrepeatable=why,
    )


def submitted_run(platform: Platform, bundle: str, entry: str) -> Training:
    """The configuration of a stored run, from its bundle; nothing is loaded before its signature is verified."""
    packed = decode(platform.artefacts.get_signed(SIGNED, bundle))
    if packed.entry != entry:
        raise UserError("not the run's file", where=f"bundle {bundle}", wanted=packed.entry, got=entry)
    target = unpack(packed, platform.home.path / "bundles" / bundle)
    return load_run(target.path, target.function)


def as_declared(platform: Platform, training: Training, dataset: str) -> Training:
    """The configuration with the augmentation that its data set's version, `dataset`, declares. Raises `ConfigError`
    where the task has another, or takes none."""
    if not training.data.dataset:
        return training
    _, manifest = datasets.manifest_of(platform, dataset)
    task = with_declared(training.task, manifest.augmentation, f"data set {dataset}")
    return training if task is training.task else msgspec.structs.replace(training, task=task)


def load(platform: Platform, event: ModelPublished) -> tuple[Training, torch.nn.Module, Manifest]:
    """The configuration and the network behind a version of weights, in evaluation mode; everything is verified.
    Raises `UserError` where it is no version of weights, `ConfigError` without torch."""
    need_torch()
    from training.tensors import from_bytes, load_weights

    manifest, files = platform.artefacts.load(event.model, event.version, event.version_digest)
    lineage = manifest.lineage
    if manifest.kind != WEIGHTS or lineage is None:
        raise UserError("not a version of weights", where=f"{event.model}@{event.version}", got=manifest.kind)
    training = submitted_run(platform, lineage.bundle, lineage.file)
    model = training.task.model()
    load_weights(model, from_bytes(files[FILE]))
    model.eval()
    return training, model, manifest


def reproduce(platform: Platform, manifest: Manifest, copy: Log | None = None) -> dict[str, Any]:
    """Train a version anew, by one worker, from the data and the code that its lineage names; what `models.reproduce`
    says of it. The bytes of items come from the artefact store, whatever log is read.

    Raises `GoneError` naming the range that neither the log nor its archive holds, `DigestError` and `IntegrityError`
    where something else is there than was learned from.
    """
    need_torch()
    from tidemill_app.training_again import train_again

    lineage = manifest.lineage
    assert lineage is not None
    training = as_declared(platform, submitted_run(platform, lineage.bundle, lineage.file), lineage.dataset)
    scratch = platform.home.path / "training"
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix=f".again-{os.getpid()}-") as folder:
        again = train_again(platform, training, lineage, Path(folder), copy)
    rebuilt = _content(training, lineage.bundle, again.weights)
    return {
        "model": manifest.model,
        "version": manifest.version,
        "equal": rebuilt == manifest.content_digest,
        "content_digest": manifest.content_digest,
        "rebuilt_digest": rebuilt,
        "records": again.uses,
        "records_equal": again.same,
        "erased": again.erased,
        "unrepeatable": lineage.unrepeatable,
    }
