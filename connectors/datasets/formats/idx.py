"""IDX: `NAME-images-idx3-ubyte` and `NAME-labels-idx1-ubyte`, also `.gz`, as MNIST and Fashion-MNIST come.

Each image becomes a PNG in grey. Ids are `NAME-00001` by row, splits by the file's name (`t10k` is `test`), classes the
digits as texts. Source: the format's description by LeCun, Cortes and Burges.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from connectors.datasets.formats.files import MAX_TEXT, Root, gunzip
from connectors.datasets.formats.item import Incoming, RawItem
from tidemill.errors import UserError

_SPLITS = {"t10k": "test", "train": "train", "test": "test"}
_MAX_SIDE = 4096


def read(folder: Path) -> Incoming:
    """Raises `UserError` where there are no such files, or one is not what it should be."""
    root = Root(folder)
    pairs: list[tuple[str, str, str]] = []
    names = {name.removesuffix(".gz"): name for name in root.names()}
    for plain, name in sorted(names.items()):
        if plain.endswith("-images-idx3-ubyte"):
            what = plain.removesuffix("-images-idx3-ubyte")
            labels = names.get(f"{what}-labels-idx1-ubyte")
            if labels is None:
                raise UserError("images without labels", where=name, wanted=f"{what}-labels-idx1-ubyte")
            pairs.append((what.rpartition("/")[2], name, labels))
    if not pairs:
        raise UserError("no IDX files", where=str(folder), wanted="NAME-images-idx3-ubyte and NAME-labels-idx1-ubyte")
    of = {what: array(root, labels, 1) for what, _, labels in pairs}
    classes = sorted({int(v) for values in of.values() for v in np.unique(values)})

    def items() -> Iterator[RawItem]:
        for what, name, _ in pairs:
            images, labels = array(root, name, 3), of[what]
            if len(images) != len(labels):
                raise UserError("not a label for each image", where=name, wanted=f"{len(images)}", got=f"{len(labels)}")
            for i, (image, label) in enumerate(zip(images, labels.tolist(), strict=True), 1):
                yield RawItem(f"{what}-{i:05d}", png(image), "image/png", {}, str(label), "", _SPLITS.get(what, ""))

    return Incoming("single", "image", tuple(map(str, classes)), items())


def array(root: Root, name: str, dimensions: int) -> NDArray[np.uint8]:
    """The array in a file. Raises `UserError` where it is none of bytes with so many dimensions."""
    data = root.read(name, MAX_TEXT)
    if name.endswith(".gz"):
        data = gunzip(data, MAX_TEXT, name)
    head = 4 + 4 * dimensions
    if len(data) < head or data[:4] != bytes([0, 0, 8, dimensions]):
        raise UserError("not an IDX file of bytes", where=name, wanted=f"{dimensions} dimensions", got=data[:4].hex())
    shape = struct.unpack(f">{dimensions}I", data[4:head])
    size = int(np.prod(shape, dtype=object)) if shape else 0
    if len(data) - head != size or any(side > _MAX_SIDE for side in shape[1:]):
        raise UserError(
            "an IDX file is not as large as it says", where=name, wanted=str(shape), got=f"{len(data)} bytes"
        )
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)


def png(image: NDArray[np.uint8]) -> bytes:
    """A grey image (height, width) as PNG."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, "png")
    return out.getvalue()
