"""Detection: a small single-stage detector without anchors, trained here.

One grid of cells, `STRIDE` pixels each. Of a cell the network says how likely it is, for each class, to be the centre
of an object, and how far the object's four sides are. Cells near a centre share in it by a Gaussian, narrower than the
object. Loss: focal loss of the centres, and 1 − GIoU of the boxes of cells at centres.

Sources: Law and Deng, *CornerNet*, ECCV 2018 (the loss of centres); Zhou et al., *Objects as Points*, 2019; Tian et
al., *FCOS*, ICCV 2019 (the distances to the sides); Rezatofighi et al., *GIoU*, CVPR 2019.

Shapes: B images of side S, G = S / STRIDE cells a side, K classes, N = G² cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torchvision.ops import batched_nms, generalized_box_iou_loss

from tidemill.errors import ConfigError, WrongTypeError
from training import export
from training.augment import Augmenter
from training.augmentation import Augmentation
from training.preparation import ImagePreparation
from training.tasks.figures import detection_figures
from training.zoo import convolution

STRIDE = 8
NEAR = 0.6
"""From this value of its Gaussian on a cell learns the object's box."""


class Sample(NamedTuple):
    """An image [3, S, S] uint8, its boxes [n, 4] as x1, y1, x2, y2 in parts of the image, and their classes [n]."""

    image: torch.Tensor
    boxes: torch.Tensor
    labels: torch.Tensor


class Batch(NamedTuple):
    """Images [B, 3, S, S] uint8; of each its boxes and their classes, as in a `Sample`."""

    images: torch.Tensor
    boxes: list[torch.Tensor]
    labels: list[torch.Tensor]


class SmallDetector(nn.Module):
    """[B, 3, S, S] uint8 to centres [B, K, G, G] (logits) and sides [B, 4, G, G]: left, top, right and bottom, as parts
    of the image. Features of strides 8, 16 and 32 are added up from the coarsest down."""

    def __init__(self, classes: int, width: int = 16) -> None:
        super().__init__()
        w = width
        self.stem = nn.Sequential(
            convolution(3, w, stride=2),
            convolution(w, 2 * w, stride=2),
            convolution(2 * w, 2 * w),
            convolution(2 * w, 4 * w, stride=2),
            convolution(4 * w, 4 * w),
        )
        self.deeper = nn.Sequential(convolution(4 * w, 8 * w, stride=2), convolution(8 * w, 8 * w))
        self.deepest = nn.Sequential(convolution(8 * w, 8 * w, stride=2), convolution(8 * w, 8 * w))
        self.narrow = nn.Conv2d(8 * w, 4 * w, 1)
        self.meet = convolution(8 * w, 8 * w)
        self.join = convolution(4 * w, 4 * w)
        centres, sides = nn.Conv2d(4 * w, classes, 1), nn.Conv2d(4 * w, 4, 1)
        # Centres are rare: to begin with, each is as likely as one in fifty.
        for convolved, begin in ((centres, -3.9), (sides, -2.5)):
            nn.init.constant_(convolved.bias, begin)
        self.centres = nn.Sequential(convolution(4 * w, 4 * w), centres)
        self.sides = nn.Sequential(convolution(4 * w, 4 * w), sides)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        fine = self.stem(images.float() / 127.5 - 1)
        middle = self.deeper(fine)
        coarse = functional.interpolate(self.deepest(middle), scale_factor=2.0, mode="nearest")
        middle = self.narrow(self.meet(middle + coarse))
        features = self.join(fine + functional.interpolate(middle, scale_factor=2.0, mode="nearest"))
        return self.centres(features), torch.exp(self.sides(features).clamp(max=2.0))


class Boxes(nn.Module):
    """What is exported of a detector: for one image, corners [N, 4] in parts of it, cut at its edges, and scores
    [K, N]."""

    places: torch.Tensor

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("places", places(size // STRIDE))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        centres, sides = self.network(images)
        corners = corners_of(self.places, sides.flatten(2).transpose(1, 2)[0])
        return corners.clamp(0, 1), torch.sigmoid(centres.flatten(2)[0])


def places(cells: int) -> torch.Tensor:
    """The middles x, y of all cells [N, 2], row by row, in parts of the image."""
    at = (torch.arange(cells).float() + 0.5) / cells
    return torch.stack([at.repeat(cells), at.repeat_interleave(cells)], 1)


def corners_of(middles: torch.Tensor, sides: torch.Tensor) -> torch.Tensor:
    """x1, y1, x2, y2 from middles [..., 2] and distances left, top, right, bottom [..., 4]."""
    return torch.cat([middles - sides[..., :2], middles + sides[..., 2:]], -1)


def targets(boxes: torch.Tensor, labels: torch.Tensor, classes: int, middles: torch.Tensor) -> tuple[Any, Any, Any]:
    """Of one image: the Gaussians [K, N]; the cells that learn a box; and the number of that box.

    The Gaussian of a box has its standard deviation at a sixth of the box's width and height (at least a third of a
    cell), and is 1 in the cell of its centre. Where boxes meet, the smaller has the cell.
    """
    heat = torch.zeros(classes, len(middles), device=middles.device)
    if not len(boxes):
        nothing = torch.zeros(0, dtype=torch.long, device=middles.device)
        return heat, nothing, nothing
    cells = round(len(middles) ** 0.5)
    extent = boxes[:, 2:] - boxes[:, :2]
    # Of the cell that the centre is in, so that one cell of each object is a centre for certain.
    centre = (((boxes[:, :2] + boxes[:, 2:]) / 2 * cells).floor().clamp(0, cells - 1) + 0.5) / cells
    spread = (extent / 6).clamp(min=1 / (3 * cells))
    near = torch.exp(-(((middles[None] - centre[:, None]) / spread[:, None]) ** 2).sum(2) / 2)
    for k in range(classes):
        mine = labels == k
        if mine.any():
            heat[k] = near[mine].amax(0)
    area = extent.prod(1)
    owner = torch.where(near >= NEAR, area[:, None], torch.inf).argmin(0)
    positive = (near.amax(0) >= NEAR).nonzero()[:, 0]
    return heat, positive, owner[positive]


@dataclass(frozen=True, kw_only=True)
class Detection:
    """Boxes of several classes in images. Labels are lists of [class, x, y, width, height] in pixels of the image.

    `size` is the side that images are resized to, a multiple of 32. Of boxes of one class that overlap by more than
    `iou` the most probable stays; none of a score under `least` does.
    """

    classes: tuple[str, ...]
    size: int = 320
    width: int = 16
    iou: float = 0.5
    least: float = 0.05
    weight: float = 2.0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.size % 32 or self.size < 64:
            raise ConfigError("size cannot be this", wanted="a multiple of 32 from 64 on", got=str(self.size))

    @property
    def preparation(self) -> ImagePreparation:
        return ImagePreparation(self.size)

    def model(self) -> nn.Module:
        return SmallDetector(len(self.classes), self.width)

    def decode(self, example: Any, data: bytes, rng: np.random.Generator | None) -> Sample:
        prepared, (height, width) = self.preparation.apply_sized(data)
        image = torch.from_numpy(prepared)
        boxes, labels = self._label(example, width, height)
        if rng is None or not self.augmentation.transforms:
            return Sample(image, boxes, labels)
        image, moved, labels = Augmenter(self.augmentation).boxes(rng, image, boxes * self.size, labels)
        if image.shape[1:] != (self.size, self.size):
            raise ConfigError("augmentation changes the size", wanted=str(self.size), got=str(list(image.shape)))
        return Sample(image, moved / self.size, labels)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        return Batch(torch.stack([s.image for s in samples]), [s.boxes for s in samples], [s.labels for s in samples])

    def loss(self, model: nn.Module, batch: Any) -> tuple[torch.Tensor, dict[str, float]]:
        images, boxes, labels = batch
        centres, sides = model(images)
        logits, sides = centres.flatten(2).float(), sides.flatten(2).transpose(1, 2).float()
        middles = places(centres.shape[-1]).to(images.device)
        heat, shape = torch.zeros_like(logits), logits.new_zeros(())
        for i in range(len(images)):
            heat[i], cells, owner = targets(boxes[i], labels[i], len(self.classes), middles)
            if len(cells):
                said = corners_of(middles[cells], sides[i, cells])
                shape = shape + generalized_box_iou_loss(said, boxes[i][owner], reduction="mean")
        # Each image has its own normalisation, so that a batch may be cut anywhere.
        likely = torch.sigmoid(logits)
        sure = heat == 1
        gain = torch.where(sure, (1 - likely) ** 2 * -functional.logsigmoid(logits), 0.0)
        pain = torch.where(sure, 0.0, (1 - heat) ** 4 * likely**2 * -functional.logsigmoid(-logits))
        focal = ((gain + pain).sum((1, 2)) / sure.sum((1, 2)).clamp(min=1)).mean()
        shape = shape / len(images)
        return focal + self.weight * shape, {"focal": float(focal.detach()), "giou": float(shape.detach())}

    def evaluate(self, model: nn.Module, batches: Iterable[Any]) -> dict[str, float]:
        found: list[NDArray[Any]] = []
        truth: list[NDArray[Any]] = []
        for images, boxes, labels in batches:
            whole = Boxes(model, self.size).to(images.device)
            for i in range(len(images)):
                found.append(self.kept(*whole(images[i : i + 1])) * _scale(self.size, 6))
                known = torch.cat([labels[i][:, None].float(), boxes[i][:, :2], boxes[i][:, 2:] - boxes[i][:, :2]], 1)
                truth.append(known.cpu().numpy() * _scale(self.size, 5))
        return detection_figures(found, truth, len(self.classes), self.classes)

    def kept(self, corners: torch.Tensor, scores: torch.Tensor) -> NDArray[np.float32]:
        """Of corners [N, 4] and scores [K, N] what stays: [n, 6], class, x, y, width, height, score, the most probable
        first. As the exported model has it."""
        k, n = (scores > self.least).nonzero(as_tuple=True)
        one = batched_nms(corners[n], scores[k, n], k, self.iou)
        k, n = k[one], n[one]
        extent = corners[n, 2:] - corners[n, :2]
        rows = torch.cat([k[:, None].float(), corners[n, :2], extent, scores[k, n][:, None]], 1)
        out: NDArray[np.float32] = rows.cpu().numpy()
        return out

    def offline(self, model: nn.Module, item: bytes | str) -> NDArray[np.float32]:
        """What the network, before its export, answers to one encoded item, in the form of `EncodedModel.answer`."""
        prepared, (height, width) = self.preparation.apply_sized(item)
        with torch.inference_mode():
            rows = self.kept(*Boxes(model, self.size).eval()(torch.from_numpy(prepared)[None]))
        return rows * np.array([1, width, height, width, height, 1], np.float32)

    def truth(self, example: Any) -> NDArray[np.float64]:
        """The boxes of an example's label [m, 5], classes as numbers. Raises `WrongTypeError` for another class."""
        self._label(example, 1, 1)
        rows = [[self.classes.index(str(name)), *box] for name, *box in example.label or ()]
        return np.array(rows, np.float64).reshape(-1, 5)

    def item(self, example: Any, data: bytes) -> bytes:
        """What the exported model is asked about an example."""
        return data

    def export(self, model: nn.Module) -> bytes:
        whole = Boxes(model.cpu(), self.size)
        return export.detector(whole, self.preparation, self.classes, iou=self.iou, least=self.least)

    def _label(self, example: Any, width: int, height: int) -> tuple[torch.Tensor, torch.Tensor]:
        boxes, labels = [], []
        for value in example.label or ():
            try:
                name, x, y, w, h = value
                labels.append(self.classes.index(str(name)))
                boxes.append([float(x) / width, float(y) / height, (x + w) / width, (y + h) / height])
            except (ValueError, TypeError):
                raise WrongTypeError(
                    "no box of the task's classes",
                    where=f"item {example.id}",
                    wanted=f"[class, x, y, width, height], a class of {', '.join(self.classes)}"[:200],
                    got=repr(value)[:80],
                    field="label",
                ) from None
        corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4).clamp(0, 1)
        kept = (corners[:, 2:] > corners[:, :2]).all(1)
        return corners[kept], torch.tensor(labels, dtype=torch.long)[kept]


def _scale(size: int, columns: int) -> NDArray[np.float32]:
    """From parts of the image to pixels of the network's input."""
    return np.array([1, size, size, size, size, 1][:columns], np.float32)
