"""The full training beside the live head: a small network on the digits that people have labelled so far.

tidemill dataset create digits-labelled --project digits --labelled
tidemill train examples/digits/run.py
"""

from training.augmentation import augmentation
from training.config import Dataset, Optimiser, Schedule, Training
from training.tasks.classification import ImageClassification

CLASSES = tuple(str(digit) for digit in range(10))


def run() -> Training:
    shifted = augmentation(("RandomAffine", {"degrees": 8, "translate": [0.08, 0.08]}))
    return Training(
        name="digits-net",
        task=ImageClassification(classes=CLASSES, size=16, width=24, augmentation=shifted),
        data=Dataset(dataset="digits-labelled", epochs=30, test="test"),
        batch=32,
        optimiser=Optimiser(rate=3e-3, decay=1e-3),
        schedule=Schedule(kind="cosine", warm_up=20),
        measure_every=10_000,
        checkpoint_every=10_000,
        threads=1,  # a network this small gains nothing by more, and beside busy jobs they wait for one another
    )
