"""Classification of images, texts and sounds: one class of several for an item.

Loss: cross entropy, with label smoothing where asked for. Figures: accuracy, macro F1, log loss, and each
class's recall.
Shapes: B items, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from tidemill.errors import ConfigError, WrongTypeError
from training import export, zoo
from training.augment import Augmenter
from training.augmentation import Augmentation
from training.preparation import AudioPreparation, ImagePreparation, Preparation, TextPreparation
from training.tasks.figures import classification_figures

NO_LABEL = -100
"""The class number of an item without a label: no loss is of it, and no figure counts it."""


class Sample(NamedTuple):
    """What the network takes for one item, and its class number."""

    item: torch.Tensor
    label: int


@dataclass(frozen=True, kw_only=True)
class _Classification:
    """What the three have in common."""

    classes: tuple[str, ...]
    width: int = 32
    dropout: float = 0.1
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if len(set(self.classes)) < max(2, len(self.classes)):
            raise ConfigError("classes do not tell items apart", wanted="two or more different names", field="classes")

    @property
    def preparation(self) -> Preparation:
        raise NotImplementedError

    def model(self) -> torch.nn.Module:
        raise NotImplementedError

    def decode(self, example: Any, data: bytes, rng: np.random.Generator | None) -> Sample:
        return Sample(torch.from_numpy(self.preparation.apply(data)), self._label(example))

    def collate(self, samples: Sequence[Sample]) -> tuple[torch.Tensor, torch.Tensor]:
        items = torch.stack([sample.item for sample in samples])
        return items, torch.tensor([sample.label for sample in samples])

    def loss(self, model: torch.nn.Module, batch: Any) -> tuple[torch.Tensor, dict[str, float]]:
        items, labels = batch
        logits = model(items)
        value = functional.cross_entropy(logits, labels, ignore_index=NO_LABEL, label_smoothing=self.smoothing)
        right = float((logits.detach().argmax(1) == labels).float().mean())
        return value, {"accuracy": right}

    def evaluate(self, model: torch.nn.Module, batches: Iterable[Any]) -> dict[str, float]:
        parts = [(torch.softmax(model(items).float(), 1).cpu(), labels.cpu()) for items, labels in batches]
        probabilities, labels = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
        there = labels != NO_LABEL
        return classification_figures(probabilities[there], labels[there], self.classes)

    def offline(self, model: torch.nn.Module, item: bytes | str) -> NDArray[np.float32]:
        """What the network, before its export, answers to one encoded item, in the form of `EncodedModel.answer`."""
        with torch.inference_mode():
            logits = model.eval()(torch.from_numpy(self.preparation.apply(item))[None])
        answer: NDArray[np.float32] = torch.softmax(logits[0].float(), 0).numpy()
        return answer

    def truth(self, example: Any) -> int:
        """The class number of an example's label. Raises `WrongTypeError` where it is none of the classes."""
        return self._label(example)

    def item(self, example: Any, data: bytes) -> bytes | str:
        """What the exported model is asked about an example."""
        return data

    def export(self, model: torch.nn.Module) -> bytes:
        return export.classifier(model.cpu(), self.preparation, self.classes)

    def _label(self, example: Any) -> int:
        if example.label is None:
            return NO_LABEL
        try:
            return self.classes.index(str(example.label))
        except ValueError:
            raise WrongTypeError(
                "the label is none of the task's classes",
                where=f"item {example.id}",
                wanted=f"one of {', '.join(self.classes)}"[:200],
                got=repr(example.label)[:80],
                field="label",
            ) from None


@dataclass(frozen=True, kw_only=True)
class ImageClassification(_Classification):
    """Images. `network`: `small` is trained from nothing; `frozen` learns a linear head on EfficientNet-Lite0's
    embedding, `tuned` trains that network on. `size` is the side that images are resized to."""

    size: int = 32
    network: Literal["small", "frozen", "tuned"] = "small"
    augmentation: Augmentation = field(default_factory=Augmentation)

    @property
    def preparation(self) -> ImagePreparation:
        return ImagePreparation(self.size)

    def model(self) -> torch.nn.Module:
        if self.network == "small":
            return zoo.SmallImages(len(self.classes), self.width, self.dropout)
        return zoo.Transferred(len(self.classes), self.network == "frozen")

    def decode(self, example: Any, data: bytes, rng: np.random.Generator | None) -> Sample:
        image = torch.from_numpy(self.preparation.apply(data))
        if rng is not None and self.augmentation.transforms:
            image = Augmenter(self.augmentation).image(rng, image)
        return Sample(image, self._label(example))


@dataclass(frozen=True, kw_only=True)
class TextClassification(_Classification):
    """Texts: UTF-8 bytes, or where an item has none, the field `text` of its payload."""

    dropout: float = 0.3
    buckets: int = 16_384
    length: int = 64
    text: str = "text"

    @property
    def preparation(self) -> TextPreparation:
        return TextPreparation(self.buckets, self.length)

    def model(self) -> torch.nn.Module:
        return zoo.HashedWords(len(self.classes), self.buckets, self.width, self.dropout)

    def decode(self, example: Any, data: bytes, rng: np.random.Generator | None) -> Sample:
        return Sample(torch.from_numpy(self.preparation.apply(self.item(example, data))), self._label(example))

    def item(self, example: Any, data: bytes) -> str:
        if example.media:
            try:
                return data.decode()
            except UnicodeDecodeError as error:
                raise WrongTypeError("not a text", wanted="UTF-8", got=str(error)[:80], field="media") from None
        text = example.payload.get(self.text)
        if not isinstance(text, str):
            raise WrongTypeError("the item has no text", wanted="a text", got=repr(text)[:80], field=self.text)
        return text


@dataclass(frozen=True, kw_only=True)
class AudioClassification(_Classification):
    """Sounds: WAV, FLAC, Ogg and MP3 files, made `rate` samples a second, `seconds` long. In training a sound begins
    up to `shift` seconds later, and is up to `gain` decibels louder or quieter."""

    width: int = 16
    dropout: float = 0.2
    rate: int = 8_000
    seconds: float = 1.0
    shift: float = 0.1
    gain: float = 6.0

    @property
    def preparation(self) -> AudioPreparation:
        return AudioPreparation(self.rate, int(self.rate * self.seconds))

    def model(self) -> torch.nn.Module:
        return zoo.SmallSounds(len(self.classes), self.rate, self.width, self.dropout)

    def decode(self, example: Any, data: bytes, rng: np.random.Generator | None) -> Sample:
        sound = self.preparation.apply(data)
        if rng is not None:
            late = int(rng.integers(0, int(self.shift * self.rate) + 1))
            factor = np.float32(10 ** (rng.uniform(-self.gain, self.gain) / 20))
            sound = factor * np.concatenate([np.zeros(late, np.float32), sound])[: len(sound)]
        return Sample(torch.from_numpy(np.ascontiguousarray(sound)), self._label(example))
