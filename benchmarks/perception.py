"""Perception: images, boxes, texts and sounds, learned by the one loop, exported, and asked as serving asks them.

Every figure is of the exported model on encoded items of a part that was not learned from; it raises where the network
before its export gives another (accuracy and mAP50 equal to 1e-3). Settings were chosen on the training parts or not
at all, but for the detector's size of image, of which one was tried.

- `fashion_mnist`: 60,000 images learned, 10,000 asked. `digits`: scikit-learn's, every fifth asked.
- `bccd`: blood cells; `trainval` learned, `test` asked. Beside torchvision's smallest detector (SSDlite320 on
  MobileNetV3, nothing pretrained), given the same augmentation and the same seconds of processor time.
- transfer: ten images of each class of `fashion_mnist`, a linear head on EfficientNet-Lite0's embedding beside
  the small network from nothing, on the same ten; mean of three draws.
- `sms_spam`: every fifth message asked. The share that is `ham` is the baseline.
- spoken digits: 380 voices of eSpeak NG; the variants asked are never heard in learning.

`python -m benchmarks.perception NAME...` runs some alone.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import measure
from connectors import images
from connectors.datasets.examples import Example

FOLDER = Path(os.environ.get("TIDEMILL_DATA", "../shared/data"))
DETECTOR_SECONDS = float(os.environ.get("TIDEMILL_DETECTOR_SECONDS", "300"))

Item = tuple[Any, bytes]
"""A label and the bytes, or the text, encoded, that it is of."""


def learned(task: Any, items: Sequence[Item], *, epochs: int, rate: float = 2e-3, batch: int = 64, **more: Any) -> Any:
    """The network after `epochs` over `items`, by the loop."""
    from training.config import Dataset, Optimiser, Schedule, Training
    from training.feed import DatasetFeed
    from training.loader import Loader
    from training.loop import Loop, Parts, settle
    from training.order import EpochOrder
    from training.parallel import Alone
    from training.report import Silent

    order = EpochOrder(len(items), batch, epochs, 0)
    training = Training(
        name="bench",
        task=task,
        data=Dataset(dataset="bench@1", epochs=epochs),
        batch=batch,
        optimiser=Optimiser(name="adamw", rate=rate, decay=0.01),
        schedule=Schedule(kind="cosine", warm_up=min(50, order.steps // 10)),
        threads=1,
        **more,
    )
    device = settle(training, 1, 1)
    found = examples(items)
    loader = Loader(task, found, lambda i: items[i][1], seed=0)
    with tempfile.TemporaryDirectory() as folder:
        feed = DatasetFeed(found, "0" * 64, loader, Alone(), order, 0)
        outcome = Loop(training, Parts(Path(folder), feed, None, Alone(), Silent(), device)).run()
    network = task.model()
    network.load_state_dict(outcome.weights)
    return network.eval()


def examples(items: Sequence[Item]) -> list[Example]:
    return [Example("data.bench", 0, i, str(i), "0" * 64, "", {}, label, "", "") for i, (label, _) in enumerate(items)]


def figures(task: Any, network: Any, items: Sequence[Item]) -> dict[str, float]:
    """The official figures on `items`, of the exported model; raises where the network's own are others."""
    import torch

    from connectors.encoded_model import EncodedModel
    from training.tasks.figures import classification_figures, detection_figures

    model = EncodedModel(task.export(network))
    asked = [model.answer(data.decode() if model.facts.medium == "text" else data) for _, data in items]
    if model.facts.task == "detection":
        truth = [np.array([[task.classes.index(c), *b] for c, *b in label]) for label, _ in items]
        exported = detection_figures(asked, truth, len(task.classes))
    else:
        labels = np.array([task.classes.index(label) for label, _ in items])
        exported = classification_figures(np.array(asked), labels)

    def batches() -> Any:
        found = examples(items)
        for at in range(0, len(items), 64):
            yield task.collate([task.decode(e, items[e.offset][1], None) for e in found[at : at + 64]])

    with torch.inference_mode():
        own = task.evaluate(network, batches())
    main = "map50" if "map50" in own else "accuracy"
    if abs(own[main] - exported[main]) > 1e-3:
        raise AssertionError(f"exported {exported[main]}, before {own[main]}")
    return exported


def fashion(part: str) -> list[Item]:
    with gzip.open(FOLDER / "fashion_mnist" / f"{part}-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(FOLDER / "fashion_mnist" / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return [(str(y), images.encoded(x)) for x, y in zip(pixels, labels, strict=True)]


TEN = tuple("0123456789")


def bench_fashion_mnist() -> None:
    from training.augmentation import augmentation
    from training.tasks.classification import ImageClassification

    mild = augmentation("RandomHorizontalFlip", ("RandomCrop", {"size": 28, "padding": 2}))
    task = ImageClassification(classes=TEN, size=28, width=24, augmentation=mild)
    train, test = fashion("train"), fashion("t10k")
    begun = time.process_time()
    network = learned(task, train, epochs=4, rate=4e-3, batch=128)
    spent = time.process_time() - begun
    value = figures(task, network, test)["accuracy"]
    said = f"10,000 of fashion_mnist, small network, 4 epochs of 60,000, {spent:.0f} s of one core"
    measure("perception_fashion_mnist", lambda: value, unit="accuracy", workload=said, aim=0.91)


def bench_digits() -> None:
    from sklearn.datasets import load_digits

    from training.augmentation import augmentation
    from training.tasks.classification import ImageClassification

    source = load_digits()
    items = [
        (str(y), images.encoded((x * 15).clip(0, 255).astype(np.uint8)))
        for x, y in zip(source.images, source.target, strict=True)
    ]
    shifts = augmentation(("RandomAffine", {"degrees": 10, "translate": [0.1, 0.1]}))
    task = ImageClassification(classes=TEN, size=16, width=24, augmentation=shifts)
    train, test = [x for i, x in enumerate(items) if i % 5], items[::5]
    value = figures(task, learned(task, train, epochs=25, rate=4e-3, batch=64), test)["accuracy"]
    said = f"{len(test)} of scikit-learn's digits, {len(train)} learned, small network"
    measure("perception_digits", lambda: value, unit="accuracy", workload=said, aim=0.97)


def cells(part: str) -> list[Item]:
    items = []
    with tarfile.open(FOLDER / "bccd" / "bccd_voc.tar.gz") as tar:
        read = {m.name.removeprefix("./"): tar.extractfile(m).read() for m in tar.getmembers() if m.isfile()}  # type: ignore[union-attr]
    for name in read[f"BCCD/ImageSets/Main/{part}.txt"].decode().split():
        boxes = []
        for one in ET.fromstring(read[f"BCCD/Annotations/{name}.xml"]).iter("object"):
            x1, y1, x2, y2 = (float(one.findtext(f"bndbox/{k}", "0")) for k in ("xmin", "ymin", "xmax", "ymax"))
            boxes.append([one.findtext("name"), x1, y1, x2 - x1, y2 - y1])
        items.append((boxes, read[f"BCCD/JPEGImages/{name}.jpg"]))
    return items


def bench_bccd() -> None:
    from benchmarks.peers.ssdlite import trained
    from training.augmentation import augmentation
    from training.tasks.detection import Detection

    change = augmentation(
        *("RandomHorizontalFlip", "RandomVerticalFlip"),
        ("ColorJitter", {"brightness": 0.2, "contrast": 0.2}),
        ("RandomAffine", {"degrees": 0, "translate": [0.1, 0.1], "scale": [0.8, 1.2]}),
    )
    task = Detection(classes=("RBC", "WBC", "Platelets"), size=320, augmentation=change)
    train, test = cells("trainval"), cells("test")
    begun = time.process_time()
    learned(task, train, epochs=1, batch=8)
    epochs = max(1, round(DETECTOR_SECONDS / (time.process_time() - begun)))
    begun = time.process_time()
    network = learned(task, train, epochs=epochs, batch=8, clip=10.0)
    seconds = time.process_time() - begun
    ours = figures(task, network, test)["map50"]
    theirs, passes = trained(task, train, test, examples, seconds)
    said = f"bccd, {len(test)} test images, {seconds:.0f} s of one core each: ours {epochs} epochs, theirs {passes:.1f}"
    measure("perception_bccd", lambda: ours, unit="mAP50", workload=said)
    measure("perception_bccd_ssdlite320", lambda: theirs, unit="mAP50", workload=f"torchvision's, {said}")


def bench_transfer() -> None:
    from training.tasks.classification import ImageClassification

    train, test = fashion("train"), fashion("t10k")[:2_000]
    of = np.array([label for label, _ in train])
    found: dict[str, list[float]] = {"frozen": [], "small": []}
    for seed in range(3):
        rng = np.random.default_rng(seed)
        few = [train[i] for k in TEN for i in rng.choice(np.flatnonzero(of == k), 10, replace=False)]
        for kind in found:
            size = 96 if kind == "frozen" else 28
            task = ImageClassification(classes=TEN, size=size, width=24, network=kind)  # type: ignore[arg-type]
            network = learned(task, few, epochs=15 if kind == "frozen" else 60, rate=4e-3, batch=20)
            found[kind].append(figures(task, network, test)["accuracy"])
    said = "fashion_mnist, ten images a class, 2,000 asked, three draws"
    for kind, name in (("frozen", "EfficientNet-Lite0, frozen, linear head"), ("small", "small network from nothing")):
        value = float(np.mean(found[kind]))
        measure(f"perception_transfer_{kind}", lambda v=value: v, unit="accuracy", workload=f"{said}: {name}")  # type: ignore[misc]


def bench_sms_spam() -> None:
    from training.tasks.classification import TextClassification

    lines = (FOLDER / "sms_spam" / "SMSSpamCollection").read_text().splitlines()[1:]
    items = [(label, text.encode()) for label, _, text in (line.partition("\t") for line in lines)]
    train, test = [x for i, x in enumerate(items) if i % 5], items[::5]
    task = TextClassification(classes=("ham", "spam"))
    result = figures(task, learned(task, train, epochs=8, rate=3e-3, batch=64), test)
    ham = float(np.mean([label == "ham" for label, _ in test]))
    said = f"{len(test):,} messages; all ham {ham:.4f}"
    measure("perception_sms_spam", lambda: result["accuracy"], unit="accuracy", workload=said)
    measure("perception_sms_spam_f1", lambda: result["f1"], unit="macro F1", workload=said)


def bench_spoken_digits() -> None:
    from benchmarks.peers.environment import ROOT, environment
    from training.tasks.classification import AudioClassification

    with tempfile.TemporaryDirectory() as folder:
        script = ROOT / "benchmarks" / "peers" / "spoken_digits.py"
        subprocess.run([environment("speech"), script, f"{folder}/wav"], check=True)
        files = sorted(Path(folder, "wav").iterdir())
        items = [(f.stem.rpartition("_")[2], f.stem.partition("_")[0].partition("+")[2], f.read_bytes()) for f in files]
    voices = sorted({voice for _, voice, _ in items})
    kept = set(voices[::4])
    train = [(label, data) for label, voice, data in items if voice not in kept]
    test = [(label, data) for label, voice, data in items if voice in kept]
    task = AudioClassification(classes=TEN)
    value = figures(task, learned(task, train, epochs=8, rate=3e-3, batch=32), test)["accuracy"]
    said = f"{len(test):,} spoken digits (eSpeak NG) of {len(kept)} voices never heard, {len(train):,} learned"
    measure("perception_spoken_digits", lambda: value, unit="accuracy", workload=said)


BENCHES: dict[str, Callable[[], None]] = {
    name.removeprefix("bench_"): found for name, found in list(globals().items()) if name.startswith("bench_")
}


def main(names: Sequence[str] = ()) -> None:
    for name in names or BENCHES:
        BENCHES[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
