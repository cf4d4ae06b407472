"""What was published of each item, and so what is news: estimated, settled, revised, given.

*Answered*: the item's estimate is always published. *Re-estimated on its own account* (`damped`): only where the value
changed, the confidence moved by more than `TOLERANCE`, or the item is settled or no more, so that a project of
thousands of items does not rewrite itself every hundred answers. *Asked for, or quiet* (`exact`): wherever anything
published differs, so that what is published last is a function of the answers that stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import numpy as np

from streams.labelling.boxes import edges, iou
from streams.labelling.classes import Found
from streams.labelling.settling import SLACK, is_settled
from streams.learning import MEASURED
from tidemill.job import Output, Rows
from tidemill.log import TopicSpec

ESTIMATED, SETTLED, REVISED, GIVEN, METRICS = "estimated", "settled", "revised", "given", "metrics"
TOLERANCE, NEAR = 0.05, 0.95

Mode = Literal["answered", "damped", "exact"]

_COLUMNS = {
    ESTIMATED: ("about", "value", "confidence", "posterior", "answers", "method"),
    SETTLED: ("about", "value", "confidence", "answers", "method"),
    REVISED: ("about", "value", "before", "confidence", "answers", "method", "reason"),
    GIVEN: ("about", "value", "by"),
    METRICS: ("model", "version", "count", "values", "calibration"),
}


def outputs(project: str, job: str) -> tuple[Output, ...]:
    """The outputs onto `labels.<project>`, and `metrics.<job>`."""
    made, labels = TopicSpec(retention_ms=-1), (ESTIMATED, SETTLED, REVISED, GIVEN)
    rows = tuple(Output(name, f"labels.{project}", f"label.{name}.v1", key="about", made=made) for name in labels)
    return (*rows, Output(METRICS, f"metrics.{job}", "metrics.measured.v1", key="model", made=MEASURED))


class Page:
    """Rows to emit, by output: id, time (µs) and the values of its columns."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _COLUMNS}

    def add(self, output: str, *row: Any) -> None:
        self.rows[output].append(row)

    def emit(self) -> list[Rows]:
        """Everything, as an engine takes it."""
        out = []
        for name, rows in self.rows.items():
            if rows:
                ids, times, *columns = map(list, zip(*rows, strict=True))
                of = dict(zip(_COLUMNS[name], columns, strict=True))
                out.append(Rows(name, np.array(times, np.int64), ids, of))
        return out


class Item(msgspec.Struct):
    """What was published of an item: its value and posterior, the value settled now (None: none), whether one ever
    was, the value last given to learners, and how many events in all."""

    value: Any = None
    confidence: float = 0.0
    posterior: dict[str, float] = {}
    answers: int = 0
    settled: Any = None
    ever: bool = False
    given: Any = None
    count: int = 0


class Rule(msgspec.Struct, frozen=True):
    """By what items are settled, and what is said of how."""

    overlap: tuple[int, int]
    sure: float
    method: str


def tell(
    page: Page, item: Item, id: str, found: Found, rule: Rule, time: int, mode: Mode, reason: str, reviewed: bool
) -> None:
    """Publish what is news of item `id`, and remember it."""
    value, confidence, _, answers = found
    settled = value is not None and is_settled(confidence, answers, rule.overlap, rule.sure, reviewed=reviewed)
    alike = same if mode == "exact" else near
    kept = item.settled is not None and (item.settled is value or alike(item.settled, value))
    if not settled and kept and mode != "exact":
        settled = answers >= rule.overlap[0] and confidence >= rule.sure - SLACK
    changed = item.value is not value and not alike(item.value, value)
    news = mode == "answered" or changed or settled != (item.settled is not None) or (settled and not kept)
    if not news:
        moved = abs(confidence - item.confidence)
        figures = (confidence, found.posterior, answers)
        news = moved > TOLERANCE if mode == "damped" else figures != (item.confidence, item.posterior, item.answers)
    if not news:
        return
    item.count += 1
    name = f"{id}/{item.count}"
    item.value, item.confidence, item.posterior, item.answers = found
    page.add(ESTIMATED, name, time, id, value, confidence, found.posterior, answers, rule.method)
    if settled and kept:
        return
    if settled and not item.ever:
        page.add(SETTLED, name, time, id, value, confidence, answers, rule.method)
        item.ever = True
    elif settled or item.settled is not None:
        now = value if settled else None
        page.add(REVISED, name, time, id, now, item.settled, confidence, answers, rule.method, reason)
    item.settled = value if settled else None
    if settled and not same(item.given, value):
        page.add(GIVEN, name, time, id, value, f"consensus:{rule.method}")
        item.given = value


def same(a: Any, b: Any) -> bool:
    """Whether two values are one label."""
    return type(a) is type(b) and bool(a == b)


def near(a: Any, b: Any) -> bool:
    """Whether two values are one label, or lists of boxes that differ by hairs only: in the same order, of the same
    classes, each overlapping its like by `NEAR`."""
    if same(a, b):
        return True
    if not (isinstance(a, list) and isinstance(b, list) and len(a) == len(b)):
        return False
    if not all(isinstance(box, list) for box in (*a, *b)):
        return False
    pairs = zip(a, b, strict=True)
    return all(p[0] == q[0] and iou(edges(p), edges(q)) >= NEAR for p, q in pairs)


def restore(items: Mapping[str, Any]) -> list[Item]:
    """The items behind `save`'s columns."""
    names = Item.__struct_fields__
    return [Item(*row) for row in zip(*(items[name] for name in names), strict=True)]


def save(items: list[Item]) -> dict[str, list[Any]]:
    """Items as columns."""
    return {name: [getattr(item, name) for item in items] for name in Item.__struct_fields__}
