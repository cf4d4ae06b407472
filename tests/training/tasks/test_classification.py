"""Classification of images, texts and sounds: learned a little, exported, and answering as before the export."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from connectors import images, sounds  # noqa: E402
from connectors.datasets.examples import Example  # noqa: E402
from connectors.encoded_model import EncodedModel  # noqa: E402
from tests.connectors.test_sounds import COMPRESSED, compressed  # noqa: E402
from tidemill.errors import ConfigError, MalformedError, WrongTypeError  # noqa: E402
from training.augmentation import augmentation, sample_rng  # noqa: E402
from training.task import Task  # noqa: E402
from training.tasks.classification import (  # noqa: E402
    AudioClassification,
    ImageClassification,
    TextClassification,
)

RNG = np.random.default_rng(0)
TYPES = [sounds.encoded, *(partial(compressed, format=kind[0], subtype=kind[1]) for kind in COMPRESSED)]
"""What writes sounds: as WAV, FLAC, Ogg (Vorbis, Opus) and MP3."""


def example(label, i: int = 0, payload=None, media: str = "0" * 64) -> Example:
    return Example("data.x", 0, i, str(i), media, "", payload or {}, label, "", "train")


def stripes(kind: int) -> bytes:
    """Lines, lying or standing, with noise."""
    image = RNG.integers(0, 120, (14, 14), dtype=np.uint8)
    lines = image if kind else image.T
    lines[::3] += 130
    return images.encoded(np.ascontiguousarray(image))


def tone(kind: int) -> bytes:
    step = (0.2, 0.6)[kind] + RNG.uniform(-0.05, 0.05)
    return TYPES[int(RNG.integers(len(TYPES)))]((np.sin(np.arange(3_000) * step) * 9_000).astype(np.int16), rate=8_000)


def message(kind: int) -> bytes:
    words = [f"word{i}" for i in RNG.integers(0, 60, 6)]
    return " ".join([*words, ("prize", "dinner")[kind]]).encode()


CASES = [
    (ImageClassification(classes=("a", "b"), size=14, width=4), stripes),
    (TextClassification(classes=("a", "b"), buckets=512, length=12, width=8, dropout=0.0), message),
    (AudioClassification(classes=("a", "b"), width=4, seconds=0.4), tone),
]


@pytest.mark.parametrize(("task", "make"), CASES, ids=["image", "text", "audio"])
def test_it_is_learned_and_the_exported_model_answers_the_same(task, make):
    assert isinstance(task, Task)
    torch.manual_seed(0)
    items = [(k, make(k)) for k in (0, 1) * 40]
    model, optimiser = task.model(), None
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    for epoch in range(12):
        for at in range(0, 60, 20):
            part = items[at : at + 20]
            samples = [
                task.decode(example("ab"[k]), data, sample_rng(0, "x", 0, at + i, epoch))
                for i, (k, data) in enumerate(part)
            ]
            value, figures = task.loss(model.train(), task.collate(samples))
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
    assert 0 <= figures["accuracy"] <= 1
    rest = items[60:]
    with torch.inference_mode():
        batch = task.collate([task.decode(example("ab"[k]), data, None) for k, data in rest])
        assert task.evaluate(model.eval(), [batch])["accuracy"] > 0.85
    exported = EncodedModel(task.export(model))
    for k, data in rest[:6]:
        item = task.item(example("ab"[k]), data)
        assert exported.answer(item) == pytest.approx(task.offline(model, item), abs=1e-5)


def test_a_sound_as_wav_and_as_flac_has_the_same_features_and_answer():
    task = CASES[2][0]
    torch.manual_seed(0)
    model = task.model().eval()
    exported = EncodedModel(task.export(model))
    values = (np.sin(np.arange(6_000) ** 1.2 / 9) * 9_000).astype(np.int16)
    wav, flac, *lossy = [write(values, rate=16_000) for write in TYPES]
    one, other = (task.decode(example("a"), data, sample_rng(0, "x", 0, 0, 1)).item for data in (wav, flac))
    assert torch.equal(one, other)
    assert (exported.answer(wav) == exported.answer(flac)).all()
    for data in (wav, *lossy):
        assert exported.answer(data) == pytest.approx(task.offline(model, data), abs=1e-5)
        assert exported.answer(data) == pytest.approx(exported.answer(wav), abs=0.05)


def test_a_label_of_another_class_is_refused_and_none_is_no_loss():
    task = CASES[0][0]
    with pytest.raises(WrongTypeError, match="classes"):
        task.decode(example("c"), stripes(0), None)
    with pytest.raises(MalformedError):
        task.decode(example("a"), b"junk", None)
    batch = task.collate([task.decode(example(label), stripes(0), None) for label in ("a", None)])
    alone = task.collate([task.decode(example("a"), stripes(0), None)])
    assert batch[1].tolist() == [0, -100]
    with torch.inference_mode():
        assert task.evaluate(task.model().eval(), [batch]).keys() == task.evaluate(task.model().eval(), [alone]).keys()


def test_augmentation_is_a_function_of_its_generator():
    task = ImageClassification(
        classes=("a", "b"), size=14, augmentation=augmentation(("RandomCrop", {"size": 14, "padding": 3}))
    )
    data = stripes(1)

    def pixels(offset):
        return task.decode(example("a"), data, sample_rng(0, "x", 0, offset, 1)).item

    assert torch.equal(pixels(1), pixels(1))
    assert not all(torch.equal(pixels(0), pixels(i)) for i in range(1, 5))
    assert torch.equal(task.decode(example("a"), data, None).item, task.decode(example("a"), data, None).item)


def test_a_text_may_stand_in_the_payload():
    task = TextClassification(classes=("a", "b"), text="sms")
    there = task.decode(example("a", payload={"sms": "free prize"}, media=""), b"", None)
    assert torch.equal(there.item, task.decode(example("a"), b"free prize", None).item)
    with pytest.raises(WrongTypeError, match="no text"):
        task.decode(example("a", media=""), b"", None)
    with pytest.raises(WrongTypeError, match="UTF-8"):
        task.decode(example("a"), b"\xff\xfe", None)


def test_classes_must_differ():
    with pytest.raises(ConfigError):
        ImageClassification(classes=("a", "a"))
