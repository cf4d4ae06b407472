"""Augmentation as plain data: which of torchvision's transforms, in which order, with which arguments.

What is declared says all there is to say of it, so its digest stands in a data set's manifest and in a model version.
It is drawn for each sample from a generator of its own (`sample_rng`), so the pixels are the same in whichever process
they are made, and in whatever order. `training.augment` applies it, and needs torch; this needs none.

Reference: torchvision.transforms.v2, https://docs.pytorch.org/vision/stable/transforms.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

from tidemill.errors import ConfigError
from tidemill.hashing import xxh64
from tidemill.state import digest

PARAMETERS: Mapping[str, str] = {
    "AugMix": "severity mixture_width chain_depth alpha all_ops interpolation fill",
    "AutoAugment": "policy interpolation fill",
    "CenterCrop": "size!",
    "ColorJitter": "brightness contrast saturation hue",
    "ElasticTransform": "alpha sigma interpolation fill",
    "GaussianBlur": "kernel_size! sigma",
    "GaussianNoise": "mean sigma clip",
    "Pad": "padding! fill padding_mode",
    "RandAugment": "num_ops magnitude num_magnitude_bins interpolation fill",
    "RandomAdjustSharpness": "sharpness_factor! p",
    "RandomAffine": "degrees! translate scale shear interpolation fill center",
    "RandomAutocontrast": "p",
    "RandomChannelPermutation": "",
    "RandomCrop": "size! padding pad_if_needed fill padding_mode",
    "RandomEqualize": "p",
    "RandomErasing": "p scale ratio value inplace",
    "RandomGrayscale": "p",
    "RandomHorizontalFlip": "p",
    "RandomInvert": "p",
    "RandomIoUCrop": "min_scale max_scale min_aspect_ratio max_aspect_ratio sampler_options trials",
    "RandomPerspective": "distortion_scale p interpolation fill",
    "RandomPhotometricDistort": "brightness contrast saturation hue p",
    "RandomPosterize": "bits! p",
    "RandomResize": "min_size! max_size! interpolation antialias",
    "RandomResizedCrop": "size! scale ratio interpolation antialias",
    "RandomRotation": "degrees! interpolation expand center fill",
    "RandomShortestSize": "min_size! max_size interpolation antialias",
    "RandomSolarize": "threshold! p",
    "RandomVerticalFlip": "p",
    "RandomZoomOut": "fill side_range p",
    "Resize": "size! interpolation max_size antialias",
    "ScaleJitter": "target_size! scale_range interpolation antialias",
    "TrivialAugmentWide": "num_magnitude_bins interpolation fill",
}
"""Of torchvision.transforms.v2, what changes one image, with its boxes, and draws from torch's generator alone; nothing
that takes code (`Lambda`), and nothing that mixes samples (`MixUp`). Of each its arguments, `!` where one must be."""

ALLOWED = frozenset(PARAMETERS)


class Transform(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A transform by its name in torchvision.transforms.v2, and the arguments it is made with. Interpolation is named
    (`bilinear`)."""

    name: str
    args: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if self.name not in ALLOWED:
            raise ConfigError(
                "no such transform",
                where="augmentation",
                field="name",
                wanted=f"one of {', '.join(sorted(ALLOWED))}",
                got=repr(self.name),
            )
        for name, value in self.args.items():
            if not _plain(value):
                raise ConfigError(
                    "an argument is no plain data",
                    where=f"augmentation {self.name}",
                    field=name,
                    wanted="numbers, texts, and lists of them",
                    got=repr(value)[:80],
                )
        known = PARAMETERS[self.name].split()
        named = [name.rstrip("!") for name in known]
        if odd := [name for name in self.args if name not in named]:
            self._refuse(odd[0], "no such argument", ", ".join(named) or "no arguments")
        if lacking := [name[:-1] for name in known if name.endswith("!") and name[:-1] not in self.args]:
            self._refuse(lacking[0], "an argument is missing", lacking[0])

    def _refuse(self, field: str, message: str, wanted: str) -> None:
        got = ", ".join(sorted(self.args)) or "none"
        raise ConfigError(message, where=f"augmentation {self.name}", field=field, wanted=wanted, got=got)


class Augmentation(msgspec.Struct, frozen=True):
    """Transforms, applied in this order; none leaves samples as they are."""

    transforms: tuple[Transform, ...] = ()

    def plain(self) -> list[dict[str, Any]]:
        """As a data set's manifest holds it; `declared` reads it back."""
        return [{"name": t.name, "args": t.args} for t in self.transforms]

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of `plain()`, as in a data set's manifest; empty where nothing is declared."""
        return digest(msgspec.json.encode(self.plain(), order="deterministic")) if self.transforms else ""


def augmentation(*transforms: str | tuple[str, dict[str, Any]]) -> Augmentation:
    """`augmentation("RandomHorizontalFlip", ("RandomCrop", {"size": 28, "padding": 2}))`. Raises `ConfigError`."""
    return Augmentation(tuple(Transform(t) if isinstance(t, str) else Transform(*t) for t in transforms))


def declared(plain: Sequence[Any]) -> Augmentation:
    """What a data set's manifest declares. Raises `ConfigError` where that is no augmentation: a transform that is not
    there, an argument that it does not take, or lacks."""
    try:
        return msgspec.convert({"transforms": list(plain)}, Augmentation)
    except msgspec.ValidationError as error:
        raise ConfigError(
            "no augmentation", wanted='objects as {"name": "RandomCrop", "args": {"size": 28}}', got=str(error)
        ) from None


def _plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


class _Key(ISeedSequence):
    """A key as numpy asks a seed for it. Given as `key` it would have numpy gather entropy first, and throw it away:
    two thirds of the time that a generator takes."""

    def __init__(self, key: NDArray[np.uint64]) -> None:
        self._key = key

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> NDArray[np.uint64]:
        assert (n_words, np.dtype(dtype)) == (2, np.dtype(np.uint64))
        return self._key


@lru_cache(4096)
def _key(seed: int, topic: str, partition: int, epoch: int) -> _Key:
    place = f"{seed}/{topic}/{partition}/{epoch}".encode()
    return _Key(np.array([xxh64(place), xxh64(place, 1)], np.uint64))


def sample_rng(seed: int, topic: str, partition: int, offset: int, epoch: int, row: int = 0) -> np.random.Generator:
    """The generator of one use of one record (of row `row`, within a block): a function of these six alone.

    Philox, a counter-based generator, keyed by 128 bits of hash of seed, topic, partition and epoch. Its counter begins
    at (0, 0, row, offset) of 64-bit words, least first, so no two records of a key share a draw.
    Source: Salmon et al., *Parallel random numbers: as easy as 1, 2, 3*, 2011.
    """
    counter = np.array([0, 0, row, offset], np.uint64)
    key: Any = _key(seed, topic, partition, epoch)  # numpy takes any ISeedSequence, its types know one
    return np.random.Generator(np.random.Philox(key, counter=counter))
