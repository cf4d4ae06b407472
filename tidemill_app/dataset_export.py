"""A version of a data set as files of a format that others read."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from connectors.datasets.formats import coco, label_studio, parquet, voc
from connectors.datasets.formats.item import Outgoing, outgoing
from connectors.datasets.version import DatasetVersion
from tidemill.errors import ConfigError

FORMATS = ("parquet", "coco", "voc", "labelstudio")
_WRITERS: dict[str, Callable[[Outgoing, Path], None]] = {
    "coco": coco.write,
    "voc": voc.write,
    "labelstudio": label_studio.write,
}


def export(version: DatasetVersion, format: str, folder: Path) -> int:
    """Write the examples, by id, into `folder`, which appears whole or not at all; how many.

    The same version gives the same files; what annotators said goes with them where the version was loaded with its
    answers and the format holds them (`labelstudio`). Raises `ConfigError` where the folder holds something,
    `UserError` where the format cannot hold the labels.
    """
    if format not in FORMATS:
        raise ConfigError("no such format", wanted=", ".join(FORMATS), got=format)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError("the folder holds something", where=str(folder), fix="Name one that is empty, or not there.")
    examples = sorted(version.examples(), key=lambda e: e.id)
    out = outgoing(version.manifest.schema, examples, version.bytes_of, version.answers)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}.part"
    try:
        if format == "parquet":
            parquet.write(out, beside, {f.name: f.type for f in version.manifest.stream.fields})
        else:
            _WRITERS[format](out, beside)
        os.replace(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return len(examples)
