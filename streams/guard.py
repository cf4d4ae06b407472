"""A user's functions, guarded: whatever one raises on an event refuses that event alone, and the job goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import hypot
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.learning import Plan
from tidemill.block import Block
from tidemill.endpoint import Known
from tidemill.errors import BadEvent, NotFiniteError, WrongTypeError
from tidemill.learner import LARGEST

Float = NDArray[np.float64]


class Guard:
    """The functions of one plan. A `MemoryError` is the machine's and passes through: a replay would not meet it."""

    def __init__(self, plan: Plan) -> None:
        self._features, self._block, self._label_of = plan.features, plan.features_block, plan.label_of
        self._names, self._model = plan.feature_names, plan.model

    def row(self, event: Mapping[str, Any], known: Known) -> Sequence[float]:
        """One event's features. Raises `BadEvent` where they cannot be made, or are not as many numbers that can be
        computed with (`tidemill.learner.LARGEST`)."""
        try:
            row = self._features(event, known)
            # The length of the row, as a vector, tells at once that all is well: values cannot cancel each other in it.
            if hypot(*row) < LARGEST and len(row) == len(self._names):
                return row
            row = [float(value) for value in row]
        except (BadEvent, MemoryError):
            raise
        except Exception as error:
            raise self._failed(error) from None
        self._check(row)
        return row

    def rows(self, block: Block) -> tuple[Float, dict[int, BadEvent]]:
        """The features of a block's events by the block form, and what is wrong with those that have none.

        A block on which the function fails is halved until the events are alone that it fails on.
        """
        errors: dict[int, BadEvent] = {}
        X = self._matrix(block, 0, errors)
        sound = (np.abs(X) < LARGEST).all(axis=1)
        for i in np.flatnonzero(~sound).tolist():
            if i not in errors:
                try:
                    self._check(X[i].tolist())
                except BadEvent as error:
                    errors[i] = error
        return X, errors

    def label(self, value: Any) -> float:
        """The class of a label value. Raises `BadEvent`."""
        try:
            return float(self._label_of(value))
        except (BadEvent, MemoryError):
            raise
        except Exception as error:
            raise WrongTypeError("not a label", got=f"{value!r:.80}: {_text(error)}", field="value") from None

    def number(self, field: str, value: Any) -> float | None:
        """A field's value for a statistic; None for null. Raises `BadEvent`."""
        if value is None:
            return None
        if not isinstance(value, (int, float)):
            raise WrongTypeError("not a number", where=self._model, got=repr(value)[:80], field=field)
        if not abs(value) < LARGEST:
            raise self._unsound(field, value)
        return float(value)

    def _matrix(self, block: Block, first: int, errors: dict[int, BadEvent]) -> Float:
        assert self._block is not None
        shape = (len(block), len(self._names))
        try:
            X = np.ascontiguousarray(self._block(block), dtype=np.float64)
            if X.shape == shape:
                return X
            failure: BadEvent = WrongTypeError("wrong number of features", wanted=str(shape), got=str(X.shape))
        except MemoryError:
            raise
        except BadEvent as error:
            failure = error
        except Exception as error:
            failure = self._failed(error)
        if len(block) == 1:
            errors[first] = failure
            return np.full(shape, np.nan)
        middle = len(block) // 2
        halves = (block.take(slice(0, middle)), first), (block.take(slice(middle, None)), first + middle)
        return np.concatenate([self._matrix(half, at, errors) for half, at in halves])

    def _check(self, row: Sequence[float]) -> None:
        if len(row) != len(self._names):
            raise WrongTypeError("wrong number of features", wanted=str(len(self._names)), got=str(len(row)))
        for name, value in zip(self._names, row, strict=True):
            if not abs(value) < LARGEST:
                raise self._unsound(name, value)

    def _unsound(self, name: str, value: float) -> BadEvent:
        what = "is too large" if abs(value) >= LARGEST and abs(value) != np.inf else "is not finite"
        wanted = f"a number smaller in size than {LARGEST:.1e}"
        return NotFiniteError(f"{name!r} {what}", where=self._model, wanted=wanted, got=repr(value)[:80], field=name)

    def _failed(self, error: Exception) -> BadEvent:
        return WrongTypeError("features cannot be made", where=self._model, got=_text(error))


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
