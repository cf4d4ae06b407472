"""Consensus on answers that are merged: boxes, transcriptions, ratings. Kept up to date answer by answer.

    weight_a = (s · DIAGONAL + Σ matched) / (s + Σ out of)        over the items that a answered; `majority`: 1

An answer merges its item anew under the weights of the moment, and moves its annotators' sums by the difference.
`estimate` begins from equal weights and goes over everything `PASSES` times: a function of the answers that stand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.labelling.answers import Order
from streams.labelling.boxes import Merged, merge_boxes
from streams.labelling.classes import NOTHING, Bools, Change, Found, classes_in_use
from streams.labelling.dawid_skene import DIAGONAL
from streams.labelling.ratings import bias_of, merge_ratings
from streams.labelling.texts import merge_texts
from tidemill.label_events import LabelSchema

PASSES = 3
LEAST_WEIGHT = 0.05

Share = tuple[int, float, float, float]
"""What an item says of an annotator: matched, out of, and, of ratings, the difference to the one found."""


class Merging:
    """What is believed of items by answers that are merged, and of annotators by how far theirs agree."""

    def __init__(self, schema: LabelSchema, method: str, smoothing: float) -> None:
        self._schema, self._alike = schema, method == "majority"
        self._smoothing = max(smoothing, 1e-3)
        names, number = classes_in_use(schema)
        self._class = {name: names[i] for name, i in number.items()}
        self._value: dict[int, Any] = {}
        self._who: dict[int, int] = {}
        self._rows: dict[int, list[int]] = {}
        self._known: dict[int, Any] = {}
        self._found: dict[int, Found] = {}
        self._shares: dict[int, list[Share]] = {}
        self._sums = np.zeros((0, 4))

    def apply(self, changes: Sequence[Change]) -> list[Found]:
        """Take up changes in order: what is believed of each one's item after it."""
        out = []
        for row, item, who, value in changes:
            rows = self._rows.setdefault(item, [])
            if row < 0:
                self._known[item] = None if value is None else self.value_of(value)
            else:
                if row not in self._who:
                    self._who[row] = who
                    rows.append(row)
                self._value[row] = None if value is None else self.value_of(value)
                self._room(who + 1)
            self._add(item, -1.0)
            self._judge(item, rows)
            self._add(item, 1.0)
            out.append(self._found[item])
        return out

    def estimate(self, order: Order) -> None:
        """Begin anew from the answers that stand."""
        place = np.empty(len(order.annotators), np.int64)
        place[order.annotators] = np.arange(len(place))
        items = [
            (item, sorted(self._rows.get(item, ()), key=lambda row: place[self._who[row]]))
            for item in order.items.tolist()
        ]
        self._sums = np.zeros((max(len(place), len(self._sums)), 4))
        for _ in range(PASSES):
            for item, rows in items:
                self._judge(item, rows)
            self._sums[:] = 0.0
            for item, _rows in items:
                self._add(item, 1.0)

    def found(self, items: Sequence[int]) -> list[Found]:
        """What is believed of these items."""
        return [self._found.get(item, NOTHING) for item in items]

    def moved(
        self, told: Sequence[Any], confidence: Sequence[float], tolerance: float, limits: Sequence[float]
    ) -> Bools:
        """Of every item, whether what is believed may be news: of merged answers all may."""
        return np.ones(len(told), np.bool_)

    def without(self, items: Sequence[int]) -> list[Found]:
        """What would be believed of these items from their answers alone, if nothing were known of them."""
        return [self._merged(self._rows.get(item, ()))[0] for item in items]

    def skills(self) -> NDArray[np.float64]:
        """Of each annotator, how far answers agree with what is believed (NaN: none given)."""
        matched, out_of = self._sums[:, 0], self._sums[:, 1]
        return np.where(out_of > 0, matched / np.where(out_of > 0, out_of, 1.0), np.nan)

    def value_of(self, value: Any) -> Any:
        """A value as the schema has it now: boxes of merged classes by the class they count as."""
        if self._schema.kind != "boxes":
            return value
        return [[self._class[box[0]], *box[1:]] for box in value if box[0] in self._class]

    def _judge(self, item: int, rows: Sequence[int]) -> None:
        whos, values = self._given(rows)
        known = self._known.get(item)
        if known is not None:
            self._found[item] = Found(known, 1.0, {}, len(values))
            told = [self._merge([known, value], [1.0, 0.5], [-1, -1]).agreement[1] for value in values]
        else:
            self._found[item], told = self._merged(rows)
        found, rating = self._found[item].value, self._schema.kind == "rating"
        errors = [float(value - found) if rating else 0.0 for value in values]
        self._shares[item] = [(who, *pair, e) for who, pair, e in zip(whos, told, errors, strict=True)]

    def _given(self, rows: Sequence[int]) -> tuple[list[int], list[Any]]:
        """Annotators and values of the answers that stand among these rows."""
        stand = [row for row in rows if self._value[row] is not None]
        return [self._who[row] for row in stand], [self._value[row] for row in stand]

    def _merged(self, rows: Sequence[int]) -> tuple[Found, list[tuple[float, float]]]:
        whos, values = self._given(rows)
        if not values:
            return NOTHING, []
        merged = self._merge(values, [self._weight(who) for who in whos], whos)
        return Found(merged.value, round(merged.confidence, 6), merged.posterior, len(values)), merged.agreement

    def _merge(self, values: list[Any], weights: list[float], whos: list[int]) -> Merged:
        if self._schema.kind == "boxes":
            return merge_boxes(values, weights)
        if self._schema.kind == "transcription":
            return merge_texts(values, weights)
        return merge_ratings(values, weights, [self._bias(who) for who in whos], *self._schema.rating)

    def _weight(self, who: int) -> float:
        if self._alike:
            return 1.0
        matched, out_of = self._sums[who, 0], self._sums[who, 1]
        weight = (self._smoothing * DIAGONAL + matched) / (self._smoothing + out_of)
        return float(max(weight, LEAST_WEIGHT))

    def _bias(self, who: int) -> float:
        if self._alike or who < 0:
            return 0.0
        return float(bias_of(self._sums[who, 2], self._sums[who, 3]))

    def _add(self, item: int, sign: float) -> None:
        for who, matched, out_of, error in self._shares.get(item, ()):
            self._sums[who] += (sign * matched, sign * out_of, sign * error, sign)

    def _room(self, annotators: int) -> None:
        if len(self._sums) < annotators:
            self._sums = np.concatenate([self._sums, np.zeros((annotators - len(self._sums), 4))])

    def state(self) -> dict[str, Any]:
        rows = sorted(self._who)
        known, found = sorted(self._known.items()), sorted(self._found.items())
        return {
            "rows": [[row, self._who[row], self._value[row]] for row in rows],
            "items": [[item, *of] for item, of in sorted(self._rows.items())],
            "known": [[item, value] for item, value in known],
            "found": [[item, *one] for item, one in found],
            "shares": [[item, *map(list, of)] for item, of in sorted(self._shares.items())],
            "sums": self._sums.copy(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a state from `state()`, of the same schema."""
        self._who = {row: who for row, who, _ in state["rows"]}
        self._value = {row: value for row, _, value in state["rows"]}
        self._rows = {item: list(of) for item, *of in state["items"]}
        self._known = dict(map(tuple, state["known"]))
        self._found = {item: Found(*one) for item, *one in state["found"]}
        self._shares = {item: [(who, a, b, e) for who, a, b, e in of] for item, *of in state["shares"]}
        self._sums = state["sums"].copy()
