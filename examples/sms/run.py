"""Spam among text messages: a class of each text, by embeddings of hashed words that are trained from nothing.

tidemill dataset import sms messages/
tidemill dataset create sms --project sms
tidemill train examples/sms/run.py
tidemill gate sms.weights

The folder has a Parquet file with columns `text` and `label`.
"""

from training.config import Dataset, Optimiser, Schedule, Training
from training.tasks.classification import TextClassification


def run() -> Training:
    return Training(
        name="sms",
        task=TextClassification(classes=("ham", "spam")),
        data=Dataset(dataset="sms", epochs=8),
        batch=32,
        optimiser=Optimiser(rate=3e-3, decay=0.01),
        schedule=Schedule(kind="cosine", warm_up=20),
        threads=1,
    )
