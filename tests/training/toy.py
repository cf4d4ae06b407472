"""A small task for the loop's tests: grey images of 8 x 8 pixels as raw bytes, a small network with dropout."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True)
class Toy:
    """Ten classes of 64 bytes; augmentation shifts the image by whole pixels."""

    hidden: int = 16
    shift: int = 1

    def model(self):
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, self.hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(self.hidden, 10)
        )

    def decode(self, example, data, rng):
        pixels = np.frombuffer(data, np.uint8).reshape(8, 8).astype(np.float32) / 16
        if rng is not None:
            pixels = np.roll(pixels, rng.integers(-self.shift, self.shift + 1, 2), (0, 1))
        return pixels, -1 if example.label is None else int(example.label)

    def collate(self, samples):
        return {
            "x": torch.from_numpy(np.stack([x for x, _ in samples])),
            "y": torch.tensor([y for _, y in samples]),
        }

    def loss(self, model, batch):
        out = model(batch["x"])
        right = (out.argmax(1) == batch["y"]).float().mean()
        return nn.functional.cross_entropy(out, batch["y"]), {"accuracy": right.item()}

    def evaluate(self, model, batches):
        right = total = 0
        for batch in batches:
            right += int((model(batch["x"]).argmax(1) == batch["y"]).sum())
            total += len(batch["y"])
        return {"accuracy": right / total}

    def export(self, model):
        raise NotImplementedError


class Connection:
    """As a client of the brokers, it may not be collected in a forked copy. Nothing but the collector finds it."""

    def __init__(self):
        self.me, self.at = self, os.getpid()

    def __del__(self):
        if os.getpid() != self.at:
            os._exit(3)


class Collecting(Toy):
    """Collects garbage in whichever process it is."""

    def decode(self, example, data, rng):
        gc.collect()
        return super().decode(example, data, rng)
