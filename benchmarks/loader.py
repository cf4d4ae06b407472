"""The loader of training against torch's DataLoader over files: 60,000 images of fashion_mnist as PNGs.

Ours reads a pack, checks every image against its SHA-256 and seeds a generator for every sample; the peer reads a
folder of files (torchvision's ImageFolder, its images opened as grey by Pillow). Both decode by Pillow to (1, 28, 28)
of uint8, in batches of 256, an epoch in the same order, with `TIDEMILL_BENCH_PROCESSES` (2) processes; once as the
images are, and once augmented by the same two transforms of torchvision (crop with padding, flip). The pixels of an
epoch are equal where nothing is drawn, which is checked first. Workers of the peer stay between epochs, ours are forked
anew.
"""

from __future__ import annotations

import gzip
import io
import os
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import compare, measure, rate

DATA = Path(os.environ.get("TIDEMILL_DATA", "../shared/data"))
IMAGES = int(os.environ.get("TIDEMILL_BENCH_IMAGES", "60000"))
PROCESSES = int(os.environ.get("TIDEMILL_BENCH_PROCESSES", "2"))
RUNS = int(os.environ.get("TIDEMILL_BENCH_RUNS", "3"))
BATCH = 256


def written(folder: Path) -> list[tuple[bytes, int]]:
    """The images as PNGs with their labels; written as files, a folder for each class."""
    from PIL import Image

    with gzip.open(DATA / "fashion_mnist" / "train-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)[:IMAGES]
    with gzip.open(DATA / "fashion_mnist" / "train-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)[:IMAGES]
    found = []
    for i, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        out = io.BytesIO()
        Image.fromarray(image).save(out, "PNG")
        place = folder / str(label)
        place.mkdir(exist_ok=True)
        (place / f"{i:05}.png").write_bytes(out.getvalue())
        found.append((out.getvalue(), int(label)))
    return found


class Pixels:
    """Ours: a task that only decodes."""

    def __init__(self, augmenter: Any) -> None:
        self._augmenter = augmenter

    def decode(self, example: Any, data: bytes, rng: np.random.Generator | None) -> Any:
        import torch
        from PIL import Image

        image = torch.from_numpy(np.array(Image.open(io.BytesIO(data))))[None]
        if rng is not None and self._augmenter is not None:
            image = self._augmenter.image(rng, image)
        return image, example.label

    def collate(self, samples: Any) -> Any:
        import torch

        return torch.stack([image for image, _ in samples]), torch.tensor([label for _, label in samples])


def epoch_of(batches: Iterator[Any]) -> int:
    """Take an epoch; how many images there were."""
    return sum(len(labels) for _, labels in batches)


def main() -> None:
    """Images a second of both, plain and augmented; seconds of an epoch."""
    if not (DATA / "fashion_mnist").is_dir():
        print(f"no data at {DATA}: set TIDEMILL_DATA")
        return
    import torch
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    from connectors.datasets.examples import Example
    from training.augment import Augmenter
    from training.augmentation import augmentation
    from training.loader import Loader, Request
    from training.pack import Pack

    torch.set_num_threads(1)
    transforms = [("RandomCrop", {"size": 28, "padding": 2}), ("RandomHorizontalFlip", {"p": 0.5})]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "files").mkdir()
        images = written(folder / "files")
        order = sorted(range(len(images)), key=lambda i: (str(images[i][1]), i))  # as ImageFolder lists them
        examples = [
            Example(
                "data.bench", 0, i, str(i), sha256(images[i][0]).hexdigest(), "image/png", {}, images[i][1], "", "train"
            )
            for i in order
        ]
        pack = Pack(folder / "pack", "bench", examples, lambda e: images[e.offset][0])
        shuffled = np.random.default_rng(0).permutation(len(images))
        cuts = [shuffled[i : i + BATCH].tolist() for i in range(0, len(images), BATCH)]

        def ours(augmented: bool) -> Iterator[Any]:
            loader = Loader(
                Pixels(Augmenter(augmentation(*transforms)) if augmented else None),
                examples,
                pack.get,
                processes=PROCESSES,
            )
            return loader.batches(Request(cut, 0 if augmented else None) for cut in cuts)

        def peer(augmented: bool) -> DataLoader[Any]:
            drawn = [v2.RandomCrop(28, padding=2), v2.RandomHorizontalFlip(0.5)] if augmented else []
            files = ImageFolder(str(folder / "files"), v2.Compose([v2.PILToTensor(), *drawn]), loader=_grey)
            return DataLoader(
                files, batch_sampler=cuts, num_workers=PROCESSES, persistent_workers=True, prefetch_factor=4
            )

        def same() -> None:
            for (a, x), (b, y) in zip(ours(False), peer(False), strict=True):
                assert torch.equal(a, b) and torch.equal(x, y)

        workload = f"{len(images):,} PNGs of 28 x 28, batches of {BATCH}, {PROCESSES} processes"
        for augmented in (False, True):
            theirs = peer(augmented)
            more = workload + (", crop and flip" if augmented else "")
            figure = compare(
                "loader_augmented" if augmented else "loader",
                ours=rate(len(images), lambda augmented=augmented: epoch_of(ours(augmented))),
                theirs=rate(len(images), lambda theirs=theirs: epoch_of(iter(theirs))),
                check=same if not augmented else lambda: None,
                peer=f"torch {torch.__version__.partition('+')[0]} DataLoader over files",
                unit="images/s",
                workload=more,
                aim=1.0,
                runs=RUNS,
            )
            name = "loader_epoch_augmented" if augmented else "loader_epoch"
            seconds = len(images) / figure["ours"]
            measure(name, lambda seconds=seconds: seconds, unit="s", workload=more, better="lower")
            del theirs


def _grey(path: str) -> Any:
    from PIL import Image

    with Image.open(path) as image:
        return image.convert("L")
