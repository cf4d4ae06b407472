"""The peer of `benchmarks.perception`: torchvision's smallest detector, from nothing, for so many seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def trained(
    task: Any,
    train: Sequence[tuple[Any, bytes]],
    test: Sequence[tuple[Any, bytes]],
    examples: Callable[[Any], Any],
    seconds: float,
) -> tuple[float, float]:
    """mAP50 on `test` after `seconds` of processor time on `train`, and how often it saw that. It takes the samples
    of `task`, augmented alike, 320 pixels a side; SGD and its rate as in torchvision's reference, under a cosine."""
    import torch
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    from training.augmentation import sample_rng
    from training.tasks.figures import detection_figures

    torch.manual_seed(0)
    network = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=len(task.classes) + 1)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.0375, momentum=0.9, weight_decay=4e-5)
    found, rng, seen = examples(train), np.random.default_rng(0), 0
    network.train()
    begun = time.process_time()
    while (spent := time.process_time() - begun) < seconds:
        for group in optimiser.param_groups:
            group["lr"] = 0.0375 * min(1.0, (seen + 8) / 400) * (0.5 + 0.5 * np.cos(np.pi * spent / seconds))
        chosen = rng.integers(0, len(train), 8).tolist()
        draws = [sample_rng(0, "", 0, i, seen) for i in chosen]
        samples = [task.decode(found[i], train[i][1], draw) for i, draw in zip(chosen, draws, strict=True)]
        wanted = [{"boxes": s.boxes * task.size, "labels": s.labels + 1} for s in samples]
        losses = network([s.image.flip(0).float() / 255 for s in samples], wanted)
        optimiser.zero_grad()
        sum(losses.values()).backward()  # type: ignore[union-attr]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimiser.step()
        seen += len(chosen)
    network.eval()
    boxes, truth = [], []
    with torch.inference_mode():
        for e, (_, data) in zip(examples(test), test, strict=True):
            sample = task.decode(e, data, None)
            out = network([sample.image.flip(0).float() / 255])[0]
            near, far = out["boxes"][:, :2], out["boxes"][:, 2:]
            columns = [out["labels"][:, None].float() - 1, near, far - near, out["scores"][:, None]]
            boxes.append(torch.cat(columns, 1).numpy())
            known = torch.cat([sample.boxes[:, :2], sample.boxes[:, 2:] - sample.boxes[:, :2]], 1) * task.size
            truth.append(torch.cat([sample.labels[:, None].float(), known], 1).numpy())
    return detection_figures(boxes, truth, len(task.classes))["map50"], seen / len(train)
