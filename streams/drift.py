"""Drift: the points of a stream at which a model's errors changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike
from river import drift

from streams.learners.restore import decode
from streams.learners.save import encode
from tidemill.errors import ConfigError, IncompatibleError, NotFiniteError, WrongTypeError

DETECTORS: dict[str, type[Any]] = {"adwin": drift.ADWIN, "page_hinkley": drift.PageHinkley}


class DriftPoint(msgspec.Struct, frozen=True):
    """One change, found at event number `index` (from 0) of the watched stream.

    `before` is the mean error since the last change (or the start) up to where the detector last stood unalarmed,
    `after` the mean it holds for the present: ADWIN's kept window; for Page-Hinkley, which keeps none, the last
    error. `time` is the event's time in UTC microseconds and `place` where it stands in the log, as they were given.
    """

    index: int
    time: int
    place: tuple[str, int, int] | None
    before: float
    after: float

    @property
    def worse(self) -> bool:
        """Whether the errors grew."""
        return self.after > self.before


class DriftMonitor:
    """Watches an error stream (0 and 1, or any bounded loss) with one of River's detectors.

    `"adwin"` finds changes of the mean either way, with false alarms bounded by `delta`; `"page_hinkley"` is cheaper
    to reason about and needs a `threshold` that fits the errors. Settings are River's. The result does not depend on
    how the stream is cut into blocks, and the state is plain data. A change that the model follows at once, or that
    noise hides, changes the errors little and is not found.

    References
    ----------
    Bifet, Gavaldà, *Learning from time-changing data with adaptive windowing*, SDM 2007.
    Page, *Continuous inspection schemes*, Biometrika 41, 1954.
    """

    def __init__(self, detector: str = "adwin", **settings: Any) -> None:
        if detector not in DETECTORS:
            raise ConfigError("no such drift detector", wanted=" or ".join(sorted(DETECTORS)), got=repr(detector))
        try:
            self._detector = DETECTORS[detector](**settings)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"settings do not fit {detector}", got=str(error)) from error
        self.detector = detector
        self._settings = dict(settings)
        self._seen = 0
        self._since = 0  # events since the last change
        self._total = 0.0  # and the sum of their errors

    def update_block(
        self, errors: ArrayLike, times: ArrayLike, places: Sequence[tuple[str, int, int]] | None = None
    ) -> list[DriftPoint]:
        """Take n errors in order, with their event times (n,) and places (topic, partition, offset) if known.

        Returns the changes found, in order. Raises `WrongTypeError` on unequal lengths and `NotFiniteError` on a NaN
        or infinite error; nothing is then taken in.
        """
        values, stamps = np.asarray(errors, dtype=np.float64), np.asarray(times, dtype=np.int64)
        n = len(values)
        if len(stamps) != n or (places is not None and len(places) != n):
            raise WrongTypeError("errors, times and places differ in length", wanted=f"{n} each")
        if not np.isfinite(values).all():
            raise NotFiniteError("an error is not finite", wanted="a finite number", field="errors")
        found = []
        detector = self._detector
        update = detector.update
        for i, value in enumerate(values.tolist()):
            update(value)
            if detector.drift_detected:
                after = float(detector.estimation) if self.detector == "adwin" else value
                before = self._total / self._since if self._since else value
                place = None if places is None else places[i]
                found.append(DriftPoint(self._seen + i, int(stamps[i]), place, before, after))
                self._since, self._total = 0, 0.0
            else:
                self._since += 1
                self._total += value
        self._seen += n
        return found

    def params(self) -> dict[str, Any]:
        """The plain values that rebuild an untouched one."""
        return {"detector": self.detector, **self._settings}

    def state(self) -> dict[str, Any]:
        """Plain data: the detector's structure and the running counts."""
        return {
            "structure": encode(self._detector),
            "seen": self._seen,
            "since": self._since,
            "total": self._total,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a state from `state()`. Raises `IncompatibleError` where it is not one of this detector."""
        if set(state) != {"structure", "seen", "since", "total"}:
            raise IncompatibleError("not a state of a drift monitor", got=str(sorted(state)))
        loaded = decode(state["structure"])
        if type(loaded) is not type(self._detector):
            raise IncompatibleError("state of another detector", wanted=self.detector, got=type(loaded).__qualname__)
        self._detector = loaded
        self._seen, self._since, self._total = int(state["seen"]), int(state["since"]), float(state["total"])
