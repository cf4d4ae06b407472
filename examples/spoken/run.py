"""Spoken digits: a class of each sound, by convolutions over its spectrogram that are trained from nothing.

tidemill dataset import spoken spoken/
tidemill dataset create spoken --project spoken
tidemill train examples/spoken/run.py
tidemill gate spoken.weights

The folder has one of each class, `0` to `9`, with WAV files (or FLAC, Ogg, MP3) in it, of a second and less.
"""

from training.config import Dataset, Optimiser, Schedule, Training
from training.tasks.classification import AudioClassification

CLASSES = tuple(str(digit) for digit in range(10))


def run() -> Training:
    return Training(
        name="spoken",
        task=AudioClassification(classes=CLASSES),
        data=Dataset(dataset="spoken", epochs=8),
        batch=32,
        optimiser=Optimiser(rate=3e-3, decay=0.01),
        schedule=Schedule(kind="cosine", warm_up=20),
        threads=1,
    )
