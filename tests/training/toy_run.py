"""A run of the toy task on digits, without a log: for tests, in this process or another."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from connectors.datasets.examples import Example
from tests.training.toy import Toy
from training.config import Dataset, Optimiser, Training
from training.feed import DatasetFeed
from training.loader import Loader, Request
from training.loop import Loop, Parts, settle
from training.order import EpochOrder
from training.parallel import Alone
from training.report import Silent

DIGEST = "d" * 64


def digits(n=200, split="train", first=0):
    """Examples and their bytes by digest."""
    found = load_digits()
    pixels, labels = found.images.astype(np.uint8)[first : first + n], found.target[first : first + n]
    store = {sha256(p.tobytes()).hexdigest(): p.tobytes() for p in pixels}
    examples = [
        Example(
            "data.digits",
            0,
            first + i,
            f"d{first + i}",
            sha256(p.tobytes()).hexdigest(),
            "x/raw",
            {},
            str(y),
            "",
            split,
        )
        for i, (p, y) in enumerate(zip(pixels, labels, strict=True))
    ]
    return examples, store


def configuration(**changes):
    settings = {
        "name": "toy",
        "task": Toy(),
        "data": Dataset(dataset="digits@1", epochs=3),
        "batch": 32,
        "optimiser": Optimiser(name="adam", rate=0.01),
        "ema": 0.9,
        "clip": 1.0,
        "threads": 1,
        "checkpoint_every": 4,
        "measure_every": 7,
    }
    return Training(**settings | changes)


def parts(training, folder: Path, workers=None, reporter=None, examples=200):
    device = settle(training, 1, 1)
    train, store = digits(examples)
    test, more = digits(100, "valid", examples)
    store |= more
    workers = workers or Alone()
    loader = Loader(
        training.task, train, lambda i: store[train[i].media], seed=training.seed, processes=training.loaders
    )
    order = EpochOrder(len(train), training.batch, training.data.epochs, training.seed)
    feed = DatasetFeed(train, DIGEST, loader, workers, order, training.micro)
    tests = Loader(training.task, test, lambda i: store[test[i].media])

    def batches():
        return tests.batches(Request(list(range(i, min(i + 50, 100))), None) for i in range(0, 100, 50))

    return Parts(folder, feed, batches, workers, reporter or Silent(), device)


def trained(folder: Path, stop=lambda: False, **changes):
    """The outcome of a run in `folder`, from where it stands."""
    training = configuration(**changes)
    return Loop(training, parts(training, folder)).run(stop)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)
