"""A run on digits as images: the file that makes it, and the data set it is of."""

from pathlib import Path

from tidemill_app import datasets
from tidemill_app.dataset_import import import_
from tidemill_app.job_file import Target

RUN = """
import io, os, signal
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import nn

from training.augment import Augmenter
from training.augmentation import Augmentation, augmentation
from training.config import Continual, Dataset, Optimiser, Schedule, Stopping, Training
from training.tasks.classification import AudioClassification, ImageClassification


@dataclass(frozen=True)
class Digits:
    hidden: int = 16

    def model(self):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, self.hidden), nn.ReLU(), nn.Linear(self.hidden, 10))

    def decode(self, example, data, rng):
        pixels = np.asarray(Image.open(io.BytesIO(data)).convert("L"), np.float32) / 255
        if rng is not None:
            pixels = np.roll(pixels, rng.integers(-1, 2, 2), (0, 1))
        return pixels, int(example.label)

    def collate(self, samples):
        return torch.from_numpy(np.stack([x for x, _ in samples])), torch.tensor([y for _, y in samples])

    def loss(self, model, batch):
        return nn.functional.cross_entropy(model(batch[0]), batch[1]), {}

    def evaluate(self, model, batches):
        found = [(model(x).argmax(1) == y).float() for x, y in batches]
        return {"accuracy": torch.cat(found).mean().item()}

    def export(self, model):
        raise NotImplementedError


def made(**changes):
    settings = dict(name="NAME", task=Digits(), data=Dataset(dataset="NAME", epochs=3), batch=16, threads=1,
                    optimiser=Optimiser(rate=0.01), schedule=Schedule(kind="cosine", warm_up=5), checkpoint_every=3)
    return Training(**settings | changes)


def run():
    return made()


def fast():
    return made(optimiser=Optimiser(rate=0.05), task=Digits(8))


class Killed(Digits):
    def loss(self, model, batch):
        if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") in ("0", "1") and float(torch.rand(1)) < 0.2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(model, batch)


def killed():
    return made(task=Killed())


def often():
    return made(publish_every=7, ema=0.9)


def tail():
    return made(data=Continual(project="NAME", dataset="NAME", fresh=8, replay=8, until_end=True), batch=16,
                measure_every=4, publish_every=5)


def forgetful():
    task = ImageClassification(classes=tuple("0123456789"), size=8, width=4, dropout=0.0)
    data = Continual(project="NAME", dataset="NAME@1", fresh=8, replay=0, until_end=True)
    return made(name="NAME-forgot", task=task, data=data, batch=8, measure_every=2)


def sounds():
    return made(name="NAME-heard", task=AudioClassification(classes=("a", "b")), data=Dataset(dataset="sounds"))


def free():
    return made(data=Continual(project="NAME", fresh=8, replay=8, until_end=True), batch=16, name="NAME-free")


@dataclass(frozen=True)
class Shifting(Digits):
    augmentation: Augmentation = Augmentation()

    def decode(self, example, data, rng):
        image = torch.from_numpy(np.array(Image.open(io.BytesIO(data)).convert("RGB"))).movedim(2, 0)
        if rng is not None:
            image = Augmenter(self.augmentation).image(rng, image)
        return image[0].numpy().astype(np.float32) / 255, int(example.label)


def shifting(*transforms, task=Shifting):
    task = task(augmentation=augmentation(*transforms)) if transforms else task()
    return made(name="NAME-shifted", task=task, data=Dataset(dataset="NAME-shifted", epochs=1))


def declaring_none():
    return shifting()


def declaring_another():
    return shifting("RandomInvert")


def taking_none():
    return shifting(task=Digits)


def wrong():
    return made(stopping=Stopping(patience=1, watch="map50"))
"""


def target(folder: Path, name: str, function: str = "run") -> Target:
    """A run's file, on data set `name`."""
    (folder / "run.py").write_text(RUN.replace("NAME", name))
    return Target((folder / "run.py").resolve(), function)


def import_digits(platform, folder: Path, name: str, n: int = 120) -> None:
    """The first `n` digits of scikit-learn as a project and a version of a data set."""
    bring_digits(platform, folder, name, n)
    datasets.create(platform, name, datasets.Wanted(name))


def bring_digits(platform, folder: Path, name: str, n: int) -> None:
    """The first `n` digits as a project alone."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    found = load_digits()
    for i, (pixels, label) in enumerate(zip(found.images[:n], found.target[:n], strict=True)):
        place = folder / "digits" / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15).astype(np.uint8)).save(place / f"{i:04}.png")
    import_(platform, name, folder / "digits")
