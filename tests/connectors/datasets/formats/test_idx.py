"""IDX, as MNIST comes."""

import gzip
import io
import struct

import numpy as np
import pytest
from PIL import Image

from connectors.datasets.formats.idx import read
from tidemill.errors import UserError


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype("u1").tobytes()


IMAGES, LABELS = np.arange(5 * 4 * 3).reshape(5, 4, 3), np.array([9, 0, 9, 3, 0])


def put(folder, images=None, labels=None, what="train", packed=True):
    folder.mkdir(exist_ok=True)
    pairs = {
        "images-idx3": idx(IMAGES) if images is None else images,
        "labels-idx1": idx(LABELS) if labels is None else labels,
    }
    for kind, data in pairs.items():
        name = f"{what}-{kind}-ubyte" + (".gz" if packed else "")
        (folder / name).write_bytes(gzip.compress(data) if packed else data)
    return folder


@pytest.mark.parametrize("packed", [True, False])
def test_rows_become_images_and_labels(tmp_path, packed):
    put(tmp_path, packed=packed)
    found = read(put(tmp_path, what="t10k", packed=packed))
    items = list(found.items)
    assert found.classes == ("0", "3", "9") and len(items) == 10
    assert [(i.id, i.label, i.split) for i in items[4:6]] == [
        ("t10k-00005", "0", "test"),
        ("train-00001", "9", "train"),
    ]
    assert (np.asarray(Image.open(io.BytesIO(items[5].data))) == IMAGES[0]).all()


@pytest.mark.parametrize(
    "images",
    [
        b"",
        b"\0\0\x08\x03",
        idx(IMAGES)[:-1],
        idx(IMAGES) + b"x",
        idx(LABELS),
        b"\0\0\x0d\x03" + idx(IMAGES)[4:],
        b"\0\0\x08\x03" + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1),
        b"\0\0\x08\x03" + struct.pack(">3I", 0, 2**31, 5),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused(tmp_path, images):
    with pytest.raises(UserError, match="IDX"):
        list(read(put(tmp_path, images)).items)


def test_what_does_not_go_together_is_refused(tmp_path):
    with pytest.raises(UserError, match="no IDX"):
        read(tmp_path)
    with pytest.raises(UserError, match="not a label for each"):
        list(read(put(tmp_path, labels=idx(LABELS[:3]))).items)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match="without labels"):
        read(tmp_path)
