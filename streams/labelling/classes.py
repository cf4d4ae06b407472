"""Consensus on classes of a schema: one of them (`single`), or which of them there are (`multi`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.labelling.answers import Order
from streams.labelling.categorical import Categorical
from tidemill.label_events import LabelSchema
from tidemill.label_values import ends

Bools = NDArray[np.bool_]

SHOWN = 12
"""A posterior tells of so many classes at most, the most probable ones."""


class Change(NamedTuple):
    """A row of `Answers` has another value (None: nothing stands there); at row −1, a reviewer's decision has."""

    row: int
    item: int
    who: int
    value: Any


class Found(NamedTuple):
    """What is believed of an item: its value (None: nothing is), how probable that is, the probability by value, and
    how many answers stand."""

    value: Any
    confidence: float
    posterior: dict[str, float]
    answers: int


NOTHING = Found(None, 0.0, {}, 0)


def classes_in_use(schema: LabelSchema) -> tuple[list[str], dict[str, int]]:
    """The ids of the classes that are not merged into others, and the number of the one that each counts as."""
    names = [c.id for c in schema.classes if not c.into]
    number = {name: i for i, name in enumerate(names)}
    return names, {name: number[end] for name, end in ends(schema).items()}


class Classes:
    """What is believed of items by answers that are classes. `method` and `smoothing` are those of `Categorical`."""

    def __init__(self, schema: LabelSchema, method: str, smoothing: float) -> None:
        self._names, self._number = classes_in_use(schema)
        self._multi = schema.kind == "multi"
        k = len(self._names)
        shape = (k, 2) if self._multi else (1, max(k, 2))
        self.model = Categorical(method=method, layers=shape[0], classes=shape[1], smoothing=smoothing)
        self._answers = np.zeros(0, np.int64)

    def apply(self, changes: Sequence[Change]) -> list[Found]:
        """Take up changes in order: what is believed of each one's item after it."""
        if not changes:
            return []
        rows, items, whos, values = zip(*changes, strict=True)
        out, answers = self.model.apply(rows, items, whos, self._labels(values))
        self._room(max(items) + 1)
        self._answers[list(items)] = answers  # of one item named twice, the last
        return self._found(out, answers.tolist())

    def estimate(self, order: Order) -> None:
        """Begin anew from the answers that stand."""
        self.model.estimate(order)
        self._room(len(order.items))

    def found(self, items: Sequence[int]) -> list[Found]:
        """What is believed of these items."""
        numbers = np.array(items, np.int64)
        return self._found(self.model.posterior()[:, numbers].transpose(1, 0, 2), self._answers[numbers].tolist())

    def moved(
        self, told: Sequence[Any], confidence: Sequence[float], tolerance: float, limits: Sequence[float]
    ) -> Bools:
        """Of every item, whether what is believed may be news beside the value that was `told` with this confidence:
        another value, or a confidence that moved by more than `tolerance`, or past one of `limits`."""
        if self._multi:
            return np.ones(len(told), np.bool_)
        p = np.round(self.model.posterior()[0, : len(told), : len(self._names)], 6)
        value, now = np.where(p.any(1), p.argmax(1), -1), p.max(1)
        place = {name: i for i, name in enumerate(self._names)} | {None: -1}
        before = np.array(confidence)
        past = [(now >= limit) != (before >= limit) for limit in limits]
        other = value != np.array([place.get(name, -2) for name in told], np.int64)
        out: Bools = np.any([other, np.abs(now - before) > tolerance, *past], axis=0)
        return out

    def without(self, items: Sequence[int]) -> list[Found]:
        """What would be believed of these items from their answers alone, if nothing were known of them."""
        return self._found(self.model.without(items), self._answers[list(items)].tolist()) if items else []

    def skills(self) -> NDArray[np.float64]:
        """Of each annotator, the expected share of right answers (NaN: none given)."""
        counts = self.model.counts().sum(0)
        total = counts.sum((1, 2))
        right = np.einsum("akk->a", counts)
        return np.where(total > 0, right / np.where(total > 0, total, 1.0), np.nan)

    def value_of(self, value: Any) -> Any:
        """A value as the schema has it now: merged classes by the name of the one they count as, lost ones left out."""
        if self._multi:
            numbers = sorted({self._number[one] for one in value if one in self._number})
            return [self._names[i] for i in numbers]
        number = self._number.get(value)
        return None if number is None else self._names[number]

    def _labels(self, values: Sequence[Any]) -> NDArray[np.int64]:
        if not self._multi:
            number = self._number
            return np.array([[-1 if v is None else number.get(v, -1) for v in values]], np.int64)
        out = np.full((self.model.layers, len(values)), -1, np.int64)
        for i, value in enumerate(values):
            if value is not None:
                out[:, i] = 0
                out[[self._number[one] for one in value if one in self._number], i] = 1
        return out

    def _room(self, items: int) -> None:
        if len(self._answers) < items:
            grown = np.zeros(max(16, 2 * items), np.int64)
            grown[: len(self._answers)] = self._answers
            self._answers = grown

    def _found(self, posterior: NDArray[np.float64], answers: list[int]) -> list[Found]:
        """Found from posteriors (n × layers × K)."""
        believed = posterior[:, 0].sum(1) > 0
        rounded = np.round(posterior, 6)
        if self._multi:
            found = self._several(rounded[:, :, 1], posterior.max(2).prod(1), answers)
        else:
            found = self._one(rounded[:, 0], answers)
        return [f if some else NOTHING for f, some in zip(found, believed.tolist(), strict=True)]

    def _one(self, p: NDArray[np.float64], answers: list[int]) -> list[Found]:
        names = self._names
        p = p[:, : len(names)]
        order = np.argsort(-p, axis=1, kind="stable")[:, :SHOWN]
        shown = np.take_along_axis(p, order, 1)
        # By columns, for a list for each item would keep the garbage collector busy.
        called = zip(*([names[i] for i in column] for column in order.T.tolist()), strict=True)
        out = []
        for which, chances, n in zip(called, zip(*shown.T.tolist(), strict=True), answers, strict=True):
            out.append(Found(which[0], chances[0], dict(zip(which, chances, strict=True)), n))
        return out

    def _several(self, p: NDArray[np.float64], sure: NDArray[np.float64], answers: list[int]) -> list[Found]:
        names, out = self._names, []
        for chances, confidence, n in zip(p.tolist(), np.round(sure, 6).tolist(), answers, strict=True):
            by = sorted(zip(names, chances, strict=True), key=lambda pair: -pair[1])[:SHOWN]
            value = [name for name, chance in zip(names, chances, strict=True) if chance > 0.5]
            out.append(Found(value, confidence, dict(by), n))
        return out

    def state(self) -> dict[str, Any]:
        return {"model": self.model.state(), "answers": self._answers[: self.model.posterior().shape[1]].copy()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a state from `state()`, of the same schema."""
        self.model.load_state(state["model"])
        self._answers = state["answers"].copy()
