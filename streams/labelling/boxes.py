"""Boxes of several annotators become one set of boxes: matched by overlap, kept where enough of them drew one.

Answers are taken up one after another. Each box of an answer goes to the cluster whose box overlaps it most (IoU, at
least `IOU`), of each answer one box to a cluster, the best pairs first; what fits nowhere begins a cluster of its own.
Of a cluster that annotators of weights w drew,

    share   = Σ w of those who drew it / Σ w of all             kept  ⇔  share > 1/2
    corners = Σ w · corner / Σ w,      class = the one of the greatest Σ w

and the confidence in the whole answer is the product, over all clusters, of max(share, 1 − share) times, for those
kept, the share of their class. No boxes at all from everyone is certain. An annotator's skill is the share of boxes
that met: 2 · (those of kept clusters) / (drawn + kept), the F1 score.

Source: Branson, Van Horn, Perona, *Lean crowdsourcing*, CVPR 2017 (boxes matched, then averaged).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

IOU = 0.5
"""Two boxes are of one thing where their intersection is at least this share of their union."""

Box = tuple[str, float, float, float, float]
"""Class, x, y, width, height."""


class Merged(NamedTuple):
    """One answer made of several: how sure it is, the probability by value where values can be named, and of each
    annotator's answer how far it agrees (matched, out of)."""

    value: Any
    confidence: float
    posterior: dict[str, float]
    agreement: list[tuple[float, float]]


class _Cluster:
    __slots__ = ("corners", "drawn", "of", "weight")

    def __init__(self) -> None:
        self.weight = 0.0
        self.corners = [0.0, 0.0, 0.0, 0.0]
        self.of: dict[str, float] = {}
        self.drawn: list[int] = []

    def add(self, who: int, box: Box, weight: float) -> None:
        """Take in `who`'s box."""
        name = box[0]
        self.drawn.append(who)
        for i, v in enumerate(edges(box)):
            self.corners[i] += weight * v
        self.weight += weight
        self.of[name] = self.of.get(name, 0.0) + weight

    def edges(self) -> tuple[float, ...]:
        """The averaged left, top, right and bottom."""
        return tuple(v / self.weight for v in self.corners)


def edges(box: Sequence[Any]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of `[class, x, y, width, height]`."""
    _, x, y, width, height = box
    return x, y, x + width, y + height


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes, each as left, top, right and bottom."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def merge_boxes(answers: Sequence[Sequence[Any]], weights: Sequence[float]) -> Merged:
    """One set of boxes from those of several annotators, with weights > 0. The result depends on the order of answers
    where boxes fit several clusters: whoever wants a function of the set sorts it."""
    clusters: list[_Cluster] = []
    for who, (boxes, weight) in enumerate(zip(answers, weights, strict=True)):
        _match(clusters, who, [tuple(box) for box in boxes], weight)
    total = sum(weights)
    shares = [cluster.weight / total for cluster in clusters]
    kept = [cluster for cluster, share in zip(clusters, shares, strict=True) if share > 0.5]
    value, sure = [], [max(share, 1.0 - share) for share in shares]
    for cluster in kept:
        name = max(sorted(cluster.of), key=cluster.of.__getitem__)
        sure.append(cluster.of[name] / cluster.weight)
        left, top, right, bottom = cluster.edges()
        value.append([name, *(round(v, 2) for v in (left, top, right - left, bottom - top))])
    value.sort(key=lambda box: (box[1], box[2], box[0], box[3], box[4]))
    met = [sum(who in cluster.drawn for cluster in kept) for who in range(len(answers))]
    agreement = [
        (2.0 * m, float(len(boxes) + len(kept))) if boxes or kept else (1.0, 1.0)
        for m, boxes in zip(met, answers, strict=True)
    ]
    return Merged(value, prod(sure), {}, agreement)


def _match(clusters: list[_Cluster], who: int, boxes: list[Box], weight: float) -> None:
    there = [cluster.edges() for cluster in clusters]
    pairs = []
    for b, box in enumerate(boxes):
        own = edges(box)
        for c, other in enumerate(there):
            overlap = iou(own, other)
            if overlap >= IOU:
                pairs.append((-overlap, c, b))
    taken_boxes: set[int] = set()
    taken: set[int] = set()
    for _, c, b in sorted(pairs):
        if c not in taken and b not in taken_boxes:
            clusters[c].add(who, boxes[b], weight)
            taken.add(c)
            taken_boxes.add(b)
    for b, box in enumerate(boxes):
        if b not in taken_boxes:
            cluster = _Cluster()
            cluster.add(who, box, weight)
            clusters.append(cluster)
