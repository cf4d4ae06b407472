"""Official figures of tasks, from predictions and truth; numpy alone, but for pycocotools' mean average precision."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_CLASSES = 100
"""Classes that have a figure of their own: every measurement is an event, and goes into a version's manifest."""


def classification_figures(
    probabilities: NDArray[Any], labels: NDArray[Any], classes: Sequence[str] = ()
) -> dict[str, float]:
    """Accuracy; macro F1 (the mean over classes that occur, of F1 = 2 tp / (2 tp + fp + fn)); log loss, in nats; and
    with the names of `classes`, `recall.<class>` of those that occur, at most `MOST_CLASSES`, the most frequent.

    `probabilities` [n, classes], `labels` [n] class numbers. All are NaN of no items.
    """
    if not len(labels):
        return dict.fromkeys(("accuracy", "f1", "log_loss"), float("nan"))
    said = probabilities.argmax(1)
    scores, recalls = [], []
    for k, there in zip(*np.unique(labels, return_counts=True), strict=True):
        right = int(((said == k) & (labels == k)).sum())
        scores.append(2 * right / (int((said == k).sum()) + int(there)))
        recalls.append((-int(there), int(k), right / int(there)))
    kept = sorted(sorted(recalls)[:MOST_CLASSES], key=lambda one: one[1]) if classes else []
    of_truth = probabilities[np.arange(len(labels)), labels].clip(1e-12)
    return {
        "accuracy": float((said == labels).mean()),
        "f1": float(np.mean(scores)),
        "log_loss": float(-np.log(of_truth).mean()),
    } | {f"recall.{classes[k]}": recall for _, k, recall in kept}


def detection_figures(
    found: Sequence[NDArray[Any]], truth: Sequence[NDArray[Any]], classes: int, names: Sequence[str] = ()
) -> dict[str, float]:
    """`map50` and `map` (IoU 0.5, and 0.5 to 0.95), and `ar100`, by pycocotools; and with the classes' `names`,
    `recall.<class>`, the part of `ar100` that is of this class, of the first `MOST_CLASSES` that occur.

    Of each image, `found` are boxes [n, 6] and `truth` [m, 5]: class, x, y, width, height, and of what was found, the
    score.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations = [
        {"image_id": i, "category_id": int(b[0]), "bbox": [float(v) for v in b[1:5]], "area": float(b[3] * b[4])}
        for i, boxes in enumerate(truth)
        for b in boxes
    ]
    results = [
        {"image_id": i, "category_id": int(b[0]), "bbox": [float(v) for v in b[1:5]], "score": float(b[5])}
        for i, boxes in enumerate(found)
        for b in boxes
    ]
    if not annotations or not results:
        nothing = 0.0 if annotations else float("nan")
        return {"map50": nothing, "map": nothing, "ar100": nothing}
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": i} for i in range(len(truth))],
            "annotations": [a | {"id": n + 1, "iscrowd": 0} for n, a in enumerate(annotations)],
            "categories": [{"id": k} for k in range(classes)],
        }
        coco.createIndex()
        measured = COCOeval(coco, coco.loadRes(results), "bbox")
        measured.evaluate()
        measured.accumulate()
        measured.summarize()
    map_, map50, ar100 = (float(measured.stats[i]) for i in (0, 1, 8))
    # [IoU, class, size of objects (all), most found of an image (100)]; −1 where no object is of the class.
    recalls = measured.eval["recall"][:, :, 0, 2].mean(axis=0)
    of = [(name, float(recall)) for name, recall in zip(names, recalls, strict=False) if recall >= 0][:MOST_CLASSES]
    return {"map50": map50, "map": map_, "ar100": ar100} | {f"recall.{name}": recall for name, recall in of}
