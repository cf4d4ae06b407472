"""A small project on a log in memory: items, labels, classes."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from tests.tidemill_app.in_memory import memory_platform
from tidemill.events import LabelGiven
from tidemill.stream import Field, StreamSpec
from tidemill_app.telling import tell
from tidemill_app.wiring import Platform


def png(seed: int, side: int = 24) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(out, "png")
    return out.getvalue()


def class_folders(folder: Path, n: int = 12, splits: bool = False) -> Path:
    """`n` images in folders of three classes, the last the first's copy."""
    for i in range(n):
        where = folder / ("train" if i % 3 else "test") if splits else folder
        path = where / ("cat", "dog", "hen")[i % 3] / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(0 if i == n - 1 else i))
    return folder


def project(folder: Path, n: int = 30, partitions: int = 1, name: str = "cells") -> Platform:
    """Items `i0` … of groups of three, every second labelled."""
    import json

    platform = memory_platform(folder)
    fields = (
        Field("id", "string"),
        Field("time", "time"),
        Field("group", "string", default=""),
        Field("x", "float", nullable=True),
    )
    catalogue = platform.catalogue()
    spec = StreamSpec(name=name, fields=fields, key="id", time="time", id="id", time_unit="us", partitions=partitions)
    catalogue.declare(spec)
    catalogue.declare_labels(name)
    writer = platform.log.writer()
    for i in range(n):
        item = {"id": f"i{i}", "time": 1_000_000 + i, "group": f"g{i // 3}", "x": i / 2}
        writer.send(spec.topic, json.dumps(item).encode(), key=item["id"].encode())
    writer.flush()
    for i in range(0, n, 2):
        label(platform, f"i{i}", ("a", "b")[i % 4 // 2], name)
    return platform


def label(platform: Platform, about: str, value, project: str = "cells", time: int = 2_000_000) -> None:
    end = sum(platform.log.end(p) for p in platform.log.partitions(f"labels.{project}"))
    event = LabelGiven(id=f"l{end}", time=time, about=about, value=value, by="ann")
    tell(platform.log, f"labels.{project}", event, about)
