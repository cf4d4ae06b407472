"""Model versions: the manifest, what it says of where the model came from, and the digests.

A version is an immutable folder in the artefact store: `manifest.json`, its signature, and the weights. The *content
digest* covers spec, code, parameters and state, and is what a rebuild must equal. The *version digest* is that of the
manifest itself.
"""

from __future__ import annotations

import platform
from importlib import import_module
from typing import Any

import msgspec

from tidemill.errors import MalformedError
from tidemill.job import ModelContent
from tidemill.state import content_digest, digest


class Span(msgspec.Struct, frozen=True, order=True):
    """Offsets `first` to `next` − 1 of one partition."""

    topic: str
    partition: int
    first: int
    next: int


class Moved(msgspec.Struct, frozen=True, order=True):
    """The clock of a quiet partition was moved to `time`, before the record at `offset`."""

    topic: str
    partition: int
    offset: int
    time: int


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly what a version learned from, and in which order.

    `read` covers every record read, per partition. Under order `event_time` that, the cut (`watermark`, `last`) and
    the clocks that the engine moved (`moved`) fix the order; under `arrival`, `segments` list the runs in reading
    order. Of both, what came before is in chunks, the newest of which has the digest `journal`. `records` counts them
    and `records_hash` is the SHA-256 over their keys and values by partition in offset order, so that one altered byte
    shows. `after` is the highest version number there was when the job began. `history` are the files a job began on,
    by digest. `unrepeatable` says since when, and why, the version cannot be rebuilt (empty: it can).

    Of weights that a run trained (`kind` is `WEIGHTS`), `job` is the run, `order` is `epochs` or `labels`, `dataset`
    (`NAME@VERSION`) and `dataset_digest` what was read, `config` the digest of its configuration, `step` how many steps
    were made, by so many `workers` of so many `threads`. Under `labels`, `segments` are the runs of labels learned, in
    reading order, and `items` is the digest of a file that says where the items of these labels stand, in that order
    too: JSON, runs of partition, first offset and the one behind the last. `read` goes from the first label and item
    learned to the last, `records` counts uses, and `records_hash` is over the labels with their items, in reading
    order.
    """

    job: str
    bundle: str
    file: str
    order: str
    read: list[Span]
    watermark: int
    last: tuple[int, str, str]
    number: int
    after: int = 0
    segments: list[Span] = []
    items: str = ""
    moved: list[Moved] = []
    journal: str = ""
    records: int = 0
    records_hash: str = ""
    history: dict[str, str] = {}
    streams: dict[str, int] = {}
    unrepeatable: str = ""
    dataset: str = ""
    dataset_digest: str = ""
    config: str = ""
    step: int = 0
    workers: int = 0
    threads: int = 0


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What `manifest.json` holds. `files` maps names in the folder to SHA-256 digests."""

    model: str
    version: str
    kind: str
    content_digest: str
    files: dict[str, str]
    created: int
    params: dict[str, Any] = {}
    parents: list[str] = []
    metrics: dict[str, float] = {}
    lineage: Lineage | None = None
    lock_digest: str = ""
    cpu_class: str = ""
    delta: int = 0
    format: int = 1


def content_digest_of(content: ModelContent, code_digest: str) -> str:
    """The digest that a rebuilt model must equal: kind and parameters (the spec), code, and learned state."""
    return content_digest(content.kind, content.params, code_digest, content.state)


def encode_manifest(manifest: Manifest) -> bytes:
    """Canonical JSON of a manifest (sorted keys)."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=2)


def decode_manifest(data: bytes) -> Manifest:
    """Raises `MalformedError` where the bytes are no manifest."""
    try:
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError("not a manifest", got=str(error)) from None


def version_digest(manifest: bytes) -> str:
    """The digest of a manifest's bytes."""
    return digest(manifest)


WEIGHTS = "weights"
"""The kind of versions that hold a network's weights as safetensors: to go on from and to export, never served."""

_VECTORS = ("X86_V4", "X86_V3", "X86_V2", "SVE", "ASIMD", "NEON", "VSX")
"""Vector instruction sets, widest first, as numpy names those it found: sums are split by their width."""


def cpu_class() -> str:
    """The class of processor on which the same bytes come out: system, machine, and the widest vector instructions
    that numpy found, as `linux-x86_64-x86_v3`."""
    found: dict[str, bool] = getattr(import_module("numpy._core._multiarray_umath"), "__cpu_features__", {})
    widest = next((name for name in _VECTORS if found.get(name)), "plain")
    return f"{platform.system()}-{platform.machine()}-{widest}".lower()
