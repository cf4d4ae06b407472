"""The configuration: every mistake is refused with its field named, and it is plain data with a digest."""

import msgspec
import pytest

from tidemill.errors import ConfigError
from training.config import Continual, Dataset, Optimiser, Schedule, Stopping, Training


class Named(msgspec.Struct, frozen=True):
    """A task that does nothing, without torch."""

    width: int = 8

    def model(self): ...
    def decode(self, example, data, rng): ...
    def collate(self, samples): ...
    def loss(self, model, batch): ...
    def evaluate(self, model, batches): ...
    def export(self, model): ...


def made(**changes):
    return Training(**{"name": "digits", "task": Named(), "data": Dataset(dataset="digits@1")} | changes)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: made(batch=0), "batch"),
        (lambda: made(batch="64"), "batch"),
        (lambda: made(name="Digits!"), "name"),
        (lambda: made(model="a b"), "name"),
        (lambda: made(ema=1.0), "ema"),
        (lambda: made(precision="fp16"), "precision"),
        (lambda: made(threads=-1), "threads"),
        (lambda: made(keep=0), "keep"),
        (lambda: made(task=object()), "task"),
        (lambda: made(data=None), "data"),
        (lambda: made(batch=64, data=Continual(project="p", fresh=8, replay=8)), "batch"),
        (lambda: Dataset(dataset="x@1", epochs=0), "epochs"),
        (lambda: Dataset(dataset="x@1", test="train"), "train"),
        (lambda: Dataset(dataset=""), "dataset"),
        (lambda: Continual(project="p", replay=9, kept=8), "kept"),
        (lambda: Optimiser(name="lion"), "name"),
        (lambda: Optimiser(rate=0.0), "rate"),
        (lambda: Optimiser(betas=(0.9, 1.0)), "betas"),
        (lambda: Schedule(kind="step"), "every"),
        (lambda: Schedule(floor=2.0), "floor"),
        (lambda: Stopping(patience=-1), "patience"),
    ],
)
def test_a_mistake_is_refused_and_its_field_named(make, field):
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.field == field, caught.value


def test_it_is_plain_data_with_the_task_as_type_and_fields():
    plain = made(task=Named(12)).plain()
    assert plain["task"]["fields"] == {"width": 12} and plain["task"]["kind"].endswith(":Named")
    assert msgspec.json.decode(msgspec.json.encode(plain))["data"] == {
        "type": "dataset",
        "dataset": "digits@1",
        "epochs": 1,
        "train": "train",
        "test": "valid",
    }


def test_the_digest_is_of_what_decides_the_weights():
    digest = made().digest()
    assert made(keep=9, loaders=4, checkpoint_every=7, name="other").digest() == digest
    for changed in (
        {"seed": 1},
        {"batch": 32},
        {"task": Named(9)},
        {"ema": 0.5},
        {"data": Dataset(dataset="digits@2")},
    ):
        assert made(**changed).digest() != digest, changed


def test_a_task_that_is_no_plain_data_is_refused():
    class Loose(Named):
        """Holds an object."""

        inner: object = None

    with pytest.raises(ConfigError, match="the task is no plain data"):
        made(task=Loose(inner=object())).plain()
