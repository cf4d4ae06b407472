"""Declared augmentation, applied: torchvision's transforms on one image, with its boxes, drawn from a given generator.

Shapes: image (C, H, W) of uint8 or float; boxes (N, 4) as x1, y1, x2, y2 in pixels; labels (N,).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from tidemill.errors import ConfigError
from training.augmentation import Augmentation, Transform


class Augmenter:
    """Applies an `Augmentation`. Raises `ConfigError`, naming transform and argument, where torchvision refuses one.

    The transforms draw from torch's generator, which is seeded from the given one for each sample and put back after:
    what is drawn is a function of that generator alone, and nobody else's draws change.
    """

    def __init__(self, augmentation: Augmentation) -> None:
        self._transforms = [_made(transform) for transform in augmentation.transforms]

    def image(self, rng: np.random.Generator, image: torch.Tensor) -> torch.Tensor:
        """The augmented image; (C, H', W')."""
        out: torch.Tensor = self._drawn(rng, image, None, None)[0]
        return out

    def boxes(
        self, rng: np.random.Generator, image: torch.Tensor, boxes: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The augmented image, its boxes cut at its edges, and their labels; boxes with no area left are gone."""
        wrapped = tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=image.shape[-2:])
        out, where, what = self._drawn(rng, tv_tensors.Image(image), wrapped, labels)
        where = v2.functional.clamp_bounding_boxes(where) if len(where) else where
        kept = (where[:, 2] > where[:, 0]) & (where[:, 3] > where[:, 1])
        return out, where[kept].as_subclass(torch.Tensor), what[kept]

    def _drawn(self, rng: np.random.Generator, image: Any, boxes: Any, labels: Any) -> tuple[Any, Any, Any]:
        if not self._transforms:
            return image.as_subclass(torch.Tensor), boxes, labels
        generator = torch.default_generator
        before = generator.get_state()
        generator.manual_seed(int(rng.bit_generator.random_raw()))
        try:
            return self._applied(image, boxes, labels)
        finally:
            generator.set_state(before)

    def _applied(self, image: Any, boxes: Any, labels: Any) -> tuple[Any, Any, Any]:
        if boxes is None:
            for transform in self._transforms:
                image = transform(image)  # a plain tensor is an image to it, and takes half the time of a wrapped one
            return image, None, None
        for transform in self._transforms:
            # A transform that drops boxes drops their labels with them.
            out = transform({"image": image, "boxes": boxes, "labels": labels})
            image, boxes, labels = out["image"], out["boxes"], out["labels"]
        return image.as_subclass(torch.Tensor), boxes, labels


def _made(transform: Transform) -> Any:
    args = dict(transform.args)
    if isinstance(how := args.get("interpolation"), str):
        args["interpolation"] = _mode(transform, how)
    try:
        return getattr(v2, transform.name)(**args)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            "torchvision refuses the arguments", where=f"augmentation {transform.name}", field="args", got=str(error)
        ) from None


def _mode(transform: Transform, name: str) -> InterpolationMode:
    try:
        return InterpolationMode(name)
    except ValueError:
        raise ConfigError(
            "no such interpolation",
            where=f"augmentation {transform.name}",
            field="interpolation",
            wanted=", ".join(mode.value for mode in InterpolationMode),
            got=name,
        ) from None
